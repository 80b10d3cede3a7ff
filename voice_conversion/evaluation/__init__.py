"""What is measured in conversions."""
