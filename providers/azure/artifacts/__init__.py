"""Freeze what the workload is made of: blobs, images, models, pipelines, and the resources that hold them."""
