"""Launchers: one YAML grid becomes run directories, trained on a cluster, on this machine or by Ray Tune."""
