"""Models by scheme: `scheme:address` in a plan. Each entry makes a Model from ModelSettings; imported on use."""

BUILTIN = {
    "http": "thinkaudit.models.http:from_settings",
    "llamacpp": "thinkaudit.models.llamacpp:from_settings",
    "inspect": "thinkaudit.models.inspect_bridge:from_settings",
    "python": "thinkaudit.models.function:from_settings",
}
ENTRY_POINTS = "thinkaudit.models"
