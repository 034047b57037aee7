"""Settings from the environment. No other package reads os.environ. docs/settings.md is the reference."""

from .environment import (
    child_environment,
    find_state_folder,
    find_variable,
    is_color_wanted,
    is_nats_url_set,
    read_variables,
    take_variables,
)
from .fields import VARIABLES
from .load import SettingsError, load_settings, read_sampling
from .nats import NatsServers, list_cluster_names, read_cluster
from .settings import Settings

__all__ = [
    "VARIABLES",
    "NatsServers",
    "Settings",
    "SettingsError",
    "child_environment",
    "find_state_folder",
    "find_variable",
    "is_color_wanted",
    "is_nats_url_set",
    "list_cluster_names",
    "load_settings",
    "read_cluster",
    "read_sampling",
    "read_variables",
    "take_variables",
]
