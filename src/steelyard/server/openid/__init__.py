"""An OpenID provider, asked to say who somebody is: what this server says to it, and what of its answers is believed.

Knows of no request and no user here. The rules are OpenID Connect Core 1.0 and Discovery 1.0, RFC 6749 and RFC 7636.
"""
