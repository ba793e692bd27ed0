"""Grafana dashboards as code: built here, committed as JSON in grafana/dashboards, put into a Grafana over HTTP.

They read the views of the schema bi, as a login that `./run create-reader` makes.
"""
