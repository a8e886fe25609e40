"""What a network is and costs, in numbers."""
