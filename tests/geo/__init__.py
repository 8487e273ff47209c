"""Tests of gtm.geo."""
