"""Proofs on the whole program, with the kernel as witness."""
