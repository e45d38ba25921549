"""Finding peers: on the LAN, by fixed addresses, and the directory of sightings."""
