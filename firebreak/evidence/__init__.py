"""Evidence: exhibits, the custody chain, the sealed bag, its signature, and its offline check."""
