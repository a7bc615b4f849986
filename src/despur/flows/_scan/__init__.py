"""What does an adapter's file say by itself?"""
