"""How long each step of having a broker may take, in seconds; generous, because machines stall.

Only numbers belong here: both sides of the line protocol read them.
"""

RESOLVE_LIMIT_S = 120.0  # Maven, the first time
FORMAT_LIMIT_S = 60.0
START_LIMIT_S = 60.0
TERMINATE_LIMIT_S = 8.0  # Kafka's own shutdown, before force
MOCK_START_LIMIT_S = 20.0
ANSWER_LIMIT_S = 10.0
STOP_LIMIT_S = TERMINATE_LIMIT_S + 7.0
READY_LIMIT_S = 30.0
EXTERNAL_LIMIT_S = 10.0
TOPIC_LIMIT_S = 15.0
