"""Random faults against a real gateway and real agents: what is lost, and what is counted twice?"""
