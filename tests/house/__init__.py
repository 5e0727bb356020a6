"""What tests stand on: a registry in this process, people in it, and servers in processes of their own."""

from tests.house.people import Person, Registered
from tests.house.servers import RunningServer, start_server

__all__ = ["Person", "Registered", "RunningServer", "start_server"]
