//! Kafka's error codes (`org.apache.kafka.common.protocol.Errors`, Kafka 4.1).
//!
//! **Invariant:** a code's number never changes; `final` and `retriable` follow Kafka's exception
//! classes, since clients decide by them whether to try again.
//!
//! Which code answers which failure of a room is decided in `handlers::errors`, not here.

use std::fmt;

macro_rules! error_codes {
    (@retriable retriable) => { true };
    (@retriable final) => { false };
    ($($code:literal $name:ident $class:ident $message:literal,)*) => {
        /// An error code as it stands in responses.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum ErrorCode {
            $(#[doc = $message] $name = $code,)*
        }

        impl ErrorCode {
            /// Every code, ascending.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code of a number, or `None` where this table does not know it.
            #[must_use]
            pub fn from_code(code: i16) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// What it means, as Kafka words it.
            #[must_use]
            pub fn message(self) -> &'static str {
                match self {
                    $(Self::$name => $message,)*
                }
            }

            /// Whether a client may send the same request again and hope for success.
            #[must_use]
            pub fn is_retriable(self) -> bool {
                match self {
                    $(Self::$name => error_codes!(@retriable $class),)*
                }
            }

            fn camel(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

impl ErrorCode {
    /// The number on the wire.
    #[must_use]
    pub fn code(self) -> i16 {
        self as i16
    }

    /// Whether this is an error at all.
    #[must_use]
    pub fn is_error(self) -> bool {
        self != Self::None
    }

    /// Kafka's name, for instance `NOT_LEADER_OR_FOLLOWER`.
    #[must_use]
    pub fn name(self) -> String {
        let mut name = String::new();
        for (at, letter) in self.camel().char_indices() {
            if letter.is_ascii_uppercase() && at > 0 {
                name.push('_');
            }
            name.push(letter.to_ascii_uppercase());
        }
        name
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.code())
    }
}

error_codes! {
    -1 UnknownServerError final
        "The server experienced an unexpected error when processing the request.",
    0 None final "No error.",
    1 OffsetOutOfRange final
        "The requested offset is not within the range of offsets maintained by the server.",
    2 CorruptMessage retriable
        "This message has failed its CRC checksum, exceeds the valid size, has a null key for a \
         compacted topic, or is otherwise corrupt.",
    3 UnknownTopicOrPartition retriable "This server does not host this topic-partition.",
    4 InvalidFetchSize final "The requested fetch size is invalid.",
    5 LeaderNotAvailable retriable
        "There is no leader for this topic-partition as we are in the middle of a leadership \
         election.",
    6 NotLeaderOrFollower retriable
        "For requests intended only for the leader, this error indicates that the broker is not \
         the current leader. For requests intended for any replica, this error indicates that \
         the broker is not a replica of the topic partition.",
    7 RequestTimedOut retriable "The request timed out.",
    8 BrokerNotAvailable final "The broker is not available.",
    9 ReplicaNotAvailable retriable
        "The replica is not available for the requested topic-partition. Produce/Fetch requests \
         and other requests intended only for the leader or follower return \
         NOT_LEADER_OR_FOLLOWER if the broker is not a replica of the topic-partition.",
    10 MessageTooLarge final
        "The request included a message larger than the max message size the server will \
         accept.",
    11 StaleControllerEpoch final "The controller moved to another broker.",
    12 OffsetMetadataTooLarge final "The metadata field of the offset request was too large.",
    13 NetworkException retriable "The server disconnected before a response was received.",
    14 CoordinatorLoadInProgress retriable
        "The coordinator is loading and hence can't process requests.",
    15 CoordinatorNotAvailable retriable "The coordinator is not available.",
    16 NotCoordinator retriable "This is not the correct coordinator.",
    17 InvalidTopicException final
        "The request attempted to perform an operation on an invalid topic.",
    18 RecordListTooLarge final
        "The request included message batch larger than the configured segment size on the \
         server.",
    19 NotEnoughReplicas retriable
        "Messages are rejected since there are fewer in-sync replicas than required.",
    20 NotEnoughReplicasAfterAppend retriable
        "Messages are written to the log, but to fewer in-sync replicas than required.",
    21 InvalidRequiredAcks final "Produce request specified an invalid value for required acks.",
    22 IllegalGeneration final "Specified group generation id is not valid.",
    23 InconsistentGroupProtocol final
        "The group member's supported protocols are incompatible with those of existing members \
         or first group member tried to join with empty protocol type or empty protocol list.",
    24 InvalidGroupId final "The configured groupId is invalid.",
    25 UnknownMemberId final "The coordinator is not aware of this member.",
    26 InvalidSessionTimeout final
        "The session timeout is not within the range allowed by the broker (as configured by \
         group.min.session.timeout.ms and group.max.session.timeout.ms).",
    27 RebalanceInProgress final "The group is rebalancing, so a rejoin is needed.",
    28 InvalidCommitOffsetSize final "The committing offset data size is not valid.",
    29 TopicAuthorizationFailed final "Topic authorization failed.",
    30 GroupAuthorizationFailed final "Group authorization failed.",
    31 ClusterAuthorizationFailed final "Cluster authorization failed.",
    32 InvalidTimestamp final "The timestamp of the message is out of acceptable range.",
    33 UnsupportedSaslMechanism final "The broker does not support the requested SASL mechanism.",
    34 IllegalSaslState final "Request is not valid given the current SASL state.",
    35 UnsupportedVersion final "The version of API is not supported.",
    36 TopicAlreadyExists final "Topic with this name already exists.",
    37 InvalidPartitions final "Number of partitions is below 1.",
    38 InvalidReplicationFactor final
        "Replication factor is below 1 or larger than the number of available brokers.",
    39 InvalidReplicaAssignment final "Replica assignment is invalid.",
    40 InvalidConfig final "Configuration is invalid.",
    41 NotController retriable "This is not the correct controller for this cluster.",
    42 InvalidRequest final
        "This most likely occurs because of a request being malformed by the client library or \
         the message was sent to an incompatible broker. See the broker logs for more details.",
    43 UnsupportedForMessageFormat final
        "The message format version on the broker does not support the request.",
    44 PolicyViolation final "Request parameters do not satisfy the configured policy.",
    45 OutOfOrderSequenceNumber final "The broker received an out of order sequence number.",
    46 DuplicateSequenceNumber final "The broker received a duplicate sequence number.",
    47 InvalidProducerEpoch final "Producer attempted to produce with an old epoch.",
    48 InvalidTxnState final
        "The producer attempted a transactional operation in an invalid state.",
    49 InvalidProducerIdMapping final
        "The producer attempted to use a producer id which is not currently assigned to its \
         transactional id.",
    50 InvalidTransactionTimeout final
        "The transaction timeout is larger than the maximum value allowed by the broker (as \
         configured by transaction.max.timeout.ms).",
    51 ConcurrentTransactions final
        "The producer attempted to update a transaction while another concurrent operation on \
         the same transaction was ongoing.",
    52 TransactionCoordinatorFenced final
        "Indicates that the transaction coordinator sending a WriteTxnMarker is no longer the \
         current coordinator for a given producer.",
    53 TransactionalIdAuthorizationFailed final "Transactional Id authorization failed.",
    54 SecurityDisabled final "Security features are disabled.",
    55 OperationNotAttempted final
        "The broker did not attempt to execute this operation. This may happen for batched RPCs \
         where some operations in the batch failed, causing the broker to respond without \
         trying the rest.",
    56 KafkaStorageError retriable "Disk error when trying to access log file on the disk.",
    57 LogDirNotFound final "The user-specified log directory is not found in the broker config.",
    58 SaslAuthenticationFailed final "SASL Authentication failed.",
    59 UnknownProducerId final
        "This exception is raised by the broker if it could not locate the producer metadata \
         associated with the producerId in question. This could happen if, for instance, the \
         producer's records were deleted because their retention time had elapsed. Once the \
         last records of the producerId are removed, the producer's metadata is removed from \
         the broker, and future appends by the producer will return this exception.",
    60 ReassignmentInProgress final "A partition reassignment is in progress.",
    61 DelegationTokenAuthDisabled final "Delegation Token feature is not enabled.",
    62 DelegationTokenNotFound final "Delegation Token is not found on server.",
    63 DelegationTokenOwnerMismatch final "Specified Principal is not valid Owner/Renewer.",
    64 DelegationTokenRequestNotAllowed final
        "Delegation Token requests are not allowed on PLAINTEXT/1-way SSL channels and on \
         delegation token authenticated channels.",
    65 DelegationTokenAuthorizationFailed final "Delegation Token authorization failed.",
    66 DelegationTokenExpired final "Delegation Token is expired.",
    67 InvalidPrincipalType final "Supplied principalType is not supported.",
    68 NonEmptyGroup final "The group is not empty.",
    69 GroupIdNotFound final "The group id does not exist.",
    70 FetchSessionIdNotFound retriable "The fetch session ID was not found.",
    71 InvalidFetchSessionEpoch retriable "The fetch session epoch is invalid.",
    72 ListenerNotFound retriable
        "There is no listener on the leader broker that matches the listener on which metadata \
         request was processed.",
    73 TopicDeletionDisabled final "Topic deletion is disabled.",
    74 FencedLeaderEpoch retriable
        "The leader epoch in the request is older than the epoch on the broker.",
    75 UnknownLeaderEpoch retriable
        "The leader epoch in the request is newer than the epoch on the broker.",
    76 UnsupportedCompressionType final
        "The requesting client does not support the compression type of given partition.",
    77 StaleBrokerEpoch final "Broker epoch has changed.",
    78 OffsetNotAvailable retriable
        "The leader high watermark has not caught up from a recent leader election so the \
         offsets cannot be guaranteed to be monotonically increasing.",
    79 MemberIdRequired final
        "The group member needs to have a valid member id before actually entering a consumer \
         group.",
    80 PreferredLeaderNotAvailable retriable "The preferred leader was not available.",
    81 GroupMaxSizeReached final "The consumer group has reached its max size.",
    82 FencedInstanceId final
        "The broker rejected this static consumer since another consumer with the same \
         group.instance.id has registered with a different member.id.",
    83 EligibleLeadersNotAvailable retriable "Eligible topic partition leaders are not available.",
    84 ElectionNotNeeded retriable "Leader election not needed for topic partition.",
    85 NoReassignmentInProgress final "No partition reassignment is in progress.",
    86 GroupSubscribedToTopic final
        "Deleting offsets of a topic is forbidden while the consumer group is actively \
         subscribed to it.",
    87 InvalidRecord final
        "This record has failed the validation on broker and hence will be rejected.",
    88 UnstableOffsetCommit retriable "There are unstable offsets that need to be cleared.",
    89 ThrottlingQuotaExceeded retriable "The throttling quota has been exceeded.",
    90 ProducerFenced final
        "There is a newer producer with the same transactionalId which fences the current one.",
    91 ResourceNotFound final "A request illegally referred to a resource that does not exist.",
    92 DuplicateResource final "A request illegally referred to the same resource twice.",
    93 UnacceptableCredential final
        "Requested credential would not meet criteria for acceptability.",
    94 InconsistentVoterSet final
        "Indicates that the either the sender or recipient of a voter-only request is not one \
         of the expected voters.",
    95 InvalidUpdateVersion final "The given update version was invalid.",
    96 FeatureUpdateFailed final
        "Unable to update finalized features due to an unexpected server error.",
    97 PrincipalDeserializationFailure final
        "Request principal deserialization failed during forwarding. This indicates an internal \
         error on the broker cluster security setup.",
    98 SnapshotNotFound final "Requested snapshot was not found.",
    99 PositionOutOfRange final
        "Requested position is not greater than or equal to zero, and less than the size of the \
         snapshot.",
    100 UnknownTopicId retriable "This server does not host this topic ID.",
    101 DuplicateBrokerRegistration final "This broker ID is already in use.",
    102 BrokerIdNotRegistered final "The given broker ID was not registered.",
    103 InconsistentTopicId retriable
        "The log's topic ID did not match the topic ID in the request.",
    104 InconsistentClusterId final
        "The clusterId in the request does not match that found on the server.",
    105 TransactionalIdNotFound final "The transactionalId could not be found.",
    106 FetchSessionTopicIdError retriable
        "The fetch session encountered inconsistent topic ID usage.",
    107 IneligibleReplica final "The new ISR contains at least one ineligible replica.",
    108 NewLeaderElected final
        "The AlterPartition request successfully updated the partition state but the leader has \
         changed.",
    109 OffsetMovedToTieredStorage final "The requested offset is moved to tiered storage.",
    110 FencedMemberEpoch final
        "The member epoch is fenced by the group coordinator. The member must abandon all its \
         partitions and rejoin.",
    111 UnreleasedInstanceId final
        "The instance ID is still used by another member in the consumer group. That member \
         must leave first.",
    112 UnsupportedAssignor final
        "The assignor or its version range is not supported by the consumer group.",
    113 StaleMemberEpoch final
        "The member epoch is stale. The member must retry after receiving its updated member \
         epoch via the ConsumerGroupHeartbeat API.",
    114 MismatchedEndpointType final "The request was sent to an endpoint of the wrong type.",
    115 UnsupportedEndpointType final "This endpoint type is not supported yet.",
    116 UnknownControllerId final "This controller ID is not known.",
    117 UnknownSubscriptionId final
        "Client sent a push telemetry request with an invalid or outdated subscription ID.",
    118 TelemetryTooLarge final
        "Client sent a push telemetry request larger than the maximum size the broker will \
         accept.",
    119 InvalidRegistration final
        "The controller has considered the broker registration to be invalid.",
    120 TransactionAbortable final
        "The server encountered an error with the transaction. The client can abort the \
         transaction to continue using this transactional ID.",
    121 InvalidRecordState final
        "The record state is invalid. The acknowledgement of delivery could not be completed.",
    122 ShareSessionNotFound retriable "The share session was not found.",
    123 InvalidShareSessionEpoch retriable "The share session epoch is invalid.",
    124 FencedStateEpoch final
        "The share coordinator rejected the request because the share-group state epoch did not \
         match.",
    125 InvalidVoterKey final "The voter key doesn't match the receiving replica's key.",
    126 DuplicateVoter final "The voter is already part of the set of voters.",
    127 VoterNotFound final "The voter is not part of the set of voters.",
    128 InvalidRegularExpression final "The regular expression is not valid.",
    129 RebootstrapRequired final
        "Client metadata is stale, client should rebootstrap to obtain new metadata.",
    130 StreamsInvalidTopology final "The supplied topology is invalid.",
    131 StreamsInvalidTopologyEpoch final "The supplied topology epoch is invalid.",
    132 StreamsTopologyFenced final "The supplied topology epoch is outdated.",
    133 ShareSessionLimitReached retriable "The limit of share sessions has been reached.",
}

#[cfg(test)]
mod tests {
    use kafka_protocol::error::ResponseError;

    use super::*;

    #[test]
    fn agrees_with_the_oracle_on_number_and_retriability() {
        for code in ErrorCode::ALL.iter().copied().filter(|code| code.is_error()) {
            let oracle = ResponseError::try_from_code(code.code()).unwrap();
            assert_eq!(oracle.is_retriable(), code.is_retriable(), "{code}");
            assert_eq!(ErrorCode::from_code(code.code()), Some(code));
        }
        assert_eq!(ErrorCode::ALL.len(), 135);
        assert_eq!(ErrorCode::from_code(134), None);
    }

    #[test]
    fn names_are_kafkas() {
        assert_eq!(ErrorCode::NotLeaderOrFollower.to_string(), "NOT_LEADER_OR_FOLLOWER (6)");
        assert_eq!(ErrorCode::InvalidTopicException.name(), "INVALID_TOPIC_EXCEPTION");
        assert_eq!(ErrorCode::UnknownServerError.code(), -1);
    }
}
