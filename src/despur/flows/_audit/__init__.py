"""What did this adapter learn beyond its task?"""
