"""What tests of strategies and of parity itself are made with: brokers, fakes, generators, checks.

Nothing is imported here, so that ``parity.testing.broker`` stays light to import.
"""
