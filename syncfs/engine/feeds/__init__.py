"""Feeds: this device's own, condensed as it ages, and what is wrong with those of others."""
