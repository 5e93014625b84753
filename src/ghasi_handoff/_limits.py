"""Every cap and default of the library, once. Seconds, bytes and characters, unless a name says otherwise."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

# Token and payload
MAX_TOKEN_CHARACTERS: Final = 4096
MAX_KID_CHARACTERS: Final = 32
MAC_CHARACTERS: Final = 43  # 32 bytes as base64url
MAX_PAYLOAD_BYTES: Final = 2048
MAX_PAYLOAD_DEPTH: Final = 8
MAX_INTEGER: Final = 2**53 - 1
MAX_SECONDS: Final = 253402300799  # 9999-12-31T23:59:59Z

# Times of a token
DEFAULT_LIFETIME: Final = timedelta(seconds=300)
DEFAULT_MAX_LIFETIME: Final = timedelta(seconds=600)
MAX_LIFETIME_SECONDS: Final = 3600
DEFAULT_LEEWAY: Final = timedelta(seconds=10)
MAX_LEEWAY_SECONDS: Final = 60
GRACE_SECONDS: Final = 60  # how long past its end a browser may still repeat its own redemption

# Keys
MIN_SECRET_BYTES: Final = 32  # RFC 2104, section 3: no shorter than the hash's output
DEFAULT_PROPAGATION: Final = timedelta(minutes=15)
# A ring does not know its minters and verifiers, so it keeps a superseded key for the longest case.
SUPERSEDED_KEY_SECONDS: Final = MAX_LIFETIME_SECONDS + MAX_LEEWAY_SECONDS + GRACE_SECONDS

# Redemptions and replay stores
BROWSER_SECRET_BYTES: Final = 32
RETENTION_MARGIN_SECONDS: Final = 120
# A purge keeps what is younger than this.
HORIZON_SECONDS: Final = MAX_LIFETIME_SECONDS + 2 * MAX_LEEWAY_SECONDS + RETENTION_MARGIN_SECONDS
# An entry that a purge could have removed this long ago means that no purge runs.
PURGE_OVERDUE_SECONDS: Final = 24 * 3600
# A worker leaves an entry alone for so long after its redemption: the service itself is calling the issuer then.
OUTBOX_DELAY_SECONDS: Final = 3
# Refused replays are kept this long, for support.
REFUSALS_KEPT_SECONDS: Final = 24 * 3600
# Entries, or rows of a handoff log, that one transaction of a purge removes.
SQLITE_PURGE_CHUNK: Final = 500
POSTGRES_PURGE_CHUNK: Final = 2000
# Between two chunks of a purge. SQLite's lock has no queue: without a pause another process seldom gets it in between.
SQLITE_PURGE_PAUSE_SECONDS: Final = 0.002
# Above this many entries, `stats` of the PostgreSQL store gives the planner's estimate.
POSTGRES_COUNTED_EXACTLY: Final = 100_000
# Statements of maintenance on PostgreSQL may take this long in all.
POSTGRES_MAINTENANCE_SECONDS: Final = 60.0

# Handoff logs
# A redemption this long after the end of its token is too late.
MAX_LATENESS_SECONDS: Final = MAX_LEEWAY_SECONDS
# A row outlives its token by this: a day of deliveries, and a day to find out what went wrong.
HANDOFF_LOG_KEPT_SECONDS: Final = 48 * 3600
DEFAULT_FOUND_ROWS: Final = 100  # of a search

# Stores: time-outs and sizes
DEFAULT_STORE_TIMEOUT_SECONDS: Final = 2.0
MAX_STORE_TIMEOUT_SECONDS: Final = 60.0
DEFAULT_MEMORY_CAPACITY: Final = 100_000  # entries
MAX_BATCH: Final = 256  # consumes that share one transaction, or one round trip to Redis
GROUP_COMMIT_IDLE_SECONDS: Final = 10.0  # a thread that had nothing to do for this long ends
# A transaction is cut this long before its first caller gives up, so that the caller still learns the store's reason.
GROUP_COMMIT_MARGIN_SECONDS: Final = 0.05
REFUSALS_NOTED_PER_HANDOFF: Final = 8
REDIS_TRUSTED_SECONDS: Final = 60.0  # a server found fit is asked again after this, and at once after any error
REDIS_SCAN_COUNT: Final = 1000  # keys that one step of `stats` looks at
MIN_SQLITE_VERSION: Final = (3, 37, 0)  # STRICT tables
REDIS_MIN_VERSION: Final = (6, 0)
DEFAULT_REDIS_PREFIX: Final = "ghasi-handoff"
MAX_PREFIX_CHARACTERS: Final = 64

# Consume calls
MAX_CONSUME_BODY_BYTES: Final = 1024  # the longest body has 404
MAX_CONSUME_ANSWER_BYTES: Final = 4096
CONSUME_CALL_CLOCK_DIFFERENCE_SECONDS: Final = 60
CONSUME_CALL_CONNECT_TIMEOUT_SECONDS: Final = 0.15
CONSUME_CALL_TIMEOUT_SECONDS: Final = 0.7
MAX_CONSUME_CALL_TIMEOUT_SECONDS: Final = 10.0
CONSUME_CALL_TRIES: Final = 2
CONSUME_CALL_RETRY_WAIT_SECONDS: Final = (0.05, 0.15)
BREAKER_FAILURES: Final = 5  # calls in a row without an answer, after which none is made for a while
BREAKER_OPEN_SECONDS: Final = 5.0

# The outbox worker
DELIVERY_GIVEN_UP_SECONDS: Final = 24 * 3600
DELIVERY_LEASE_SECONDS: Final = 120
DELIVERY_BATCH: Final = 32  # a lease lasts long enough for so many calls that all time out
DELIVERY_FIRST_WAIT_SECONDS: Final = 1
DELIVERY_LONGEST_WAIT_SECONDS: Final = 300
OUTBOX_POLL_SECONDS: Final = 1.0
OUTBOX_AGE_EVERY_SECONDS: Final = 30.0

# Key files
MAX_KEY_FILE_BYTES: Final = 1_000_000
MAX_WRAPPED_KEY_BYTES: Final = 65_536
DEFAULT_WATCH_INTERVAL: Final = timedelta(seconds=10)
MIN_WATCH_INTERVAL: Final = timedelta(milliseconds=10)
MAX_WATCH_INTERVAL: Final = timedelta(hours=1)
DEFAULT_REFRESH_TIMEOUT: Final = timedelta(seconds=2)

# Key rotation
MAX_FINGERPRINT_CHARACTERS: Final = 200_000
# Clocks may differ by the leeway, which is taken off the time that a file has to arrive; as much again is left for it.
LEAST_PROPAGATION: Final = timedelta(seconds=2 * MAX_LEEWAY_SECONDS)

# Stores that are opened by a URL
POOL_CONNECTIONS: Final = 4  # at most; the stores use one at a time for each purpose
POOL_CLOSE_SECONDS: Final = 1.0  # a pool that still tries to connect is left alone after this

# Command line
DEFAULT_COMMAND_TIMEOUT_SECONDS: Final = 10.0  # for a store's or log's answer
MAX_COMMAND_TIMEOUT_SECONDS: Final = 60
DEFAULT_LISTED_ROWS: Final = 100
MAX_LISTED_ROWS: Final = 10_000
MAX_PAYLOAD_FILE_BYTES: Final = 65_536  # a payload has at most 2048; the rest is for indentation and escapes
PEER_TIMEOUT_SECONDS: Final = 5

# Landing
BROWSER_COOKIE_SECONDS: Final = 3840  # as long as any token may need it: the largest lifetime, leeways and grace
MAX_FORM_BYTES: Final = 16384  # a token has at most 4096 characters, and a browser may escape each as three
MAX_FORM_FIELDS: Final = 100
MAX_ACCEPT_LANGUAGE_CHARACTERS: Final = 1000
MAX_TIMES_ESCAPED: Final = 3  # after more rounds of percent-encoding nobody reads a text as what it was
REFERENCE_CHARACTERS: Final = 8
PAGE_RETRIES_FOR_SECONDS: Final = 20
PAGE_RETRIES_EVERY_SECONDS: Final = 2
