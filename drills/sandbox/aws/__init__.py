"""Emulate AWS in one process: moto with the corrections and stubs containment depends on."""
