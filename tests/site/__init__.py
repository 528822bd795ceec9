"""The site of docs/: it builds, its links lead somewhere, and its reference is whole."""
