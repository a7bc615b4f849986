"""What a guard promised, written down and checked again."""
