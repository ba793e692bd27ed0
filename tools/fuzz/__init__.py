"""Sends generated requests to a running platform, as several people, and judges every answer by the document.

schemathesis makes the requests from the OpenAPI document: examples, edges of every limit, random values that
fit and that do not, and sequences in which one request uses what another made. Nothing may fail with a 5xx,
and every status, content type and body must be documented.
"""
