"""The sub-commands of `motifkit`, by topic. `add_...` declares one; what it needs is imported as it runs."""
