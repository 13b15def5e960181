"""What clients download: documents made from the catalogue, and where they are kept until it changes."""
