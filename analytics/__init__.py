"""Figures about readings: computed in PostgreSQL by analytics_sql/, judged by domain/, put together here.

Nothing here knows who asks: a function takes the tenant, what to look at, and answers with plain values; a
figure that does not exist is None.
"""
