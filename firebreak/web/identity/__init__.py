"""Who somebody is: people by OpenID Connect, programs by bearer token, one sealed account for bad days."""
