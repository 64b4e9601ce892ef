"""One cluster: reaching it, discovering it, listing and watching it."""
