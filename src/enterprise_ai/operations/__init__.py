"""What keeps an installation in order: partitions made ahead, and a doctor who says what is missing."""
