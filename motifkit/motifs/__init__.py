"""Motifs: extraction from filters, comparison, files, logos."""
