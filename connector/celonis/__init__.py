"""The edge to Celonis: the only importer of httpx and tenacity."""
