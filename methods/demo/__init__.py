"""Helpers of the pages on methods: counts, random data, small networks and figures."""
