"""One engine made of many servers: who is asked, who is left out for a while, and who is believed.

`balancing` and `standing` decide and do nothing else; `discovery` finds the servers, `replicas`
knows what each of them says it is, and `engine` draws samples through them.
"""
