"""The commands about many machines, one file each."""
