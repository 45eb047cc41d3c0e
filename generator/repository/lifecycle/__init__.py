"""What comes after publishing: versions that are listed, chosen, compared, asked again and removed."""
