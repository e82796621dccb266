//! What an ELF file says of itself, looked at once.
