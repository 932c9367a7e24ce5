"""What a target can do, against what a recipe and its model ask for."""
