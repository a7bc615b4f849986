"""Worlds on a real chat model: people's questions, a hidden factor in the answers, and exact scores."""
