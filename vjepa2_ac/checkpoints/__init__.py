"""Reading and writing weights: official .pt, Hugging Face folders, and our release format."""
