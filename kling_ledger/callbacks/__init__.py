"""Callbacks: requests from providers when jobs end, and their verification."""
