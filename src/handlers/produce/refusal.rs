//! Why a batch is not appended, in the words of the answer.

use kafka_wire::produce_response::BatchIndexAndErrorMessage;

use crate::handlers::errors::KafkaCode;
use crate::model::record_walk::{Fault, Walked};
use crate::model::records::RecordError;
use crate::partition::PartitionError;
use crate::protocol::ErrorCode;

/// Kafka's code, a sentence for the client, and the records at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The error code.
    pub(super) code: ErrorCode,
    /// What was wrong.
    pub(super) message: String,
    /// Records that break a rule of the topic, by position in the batch (KIP-467): the first ones.
    pub(super) records: Vec<(i32, String)>,
}

impl Refusal {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), records: Vec::new() }
    }

    /// For the records that break a rule, if any do. The code is INVALID_TIMESTAMP if one's time is out
    /// of range, as in Kafka, else INVALID_RECORD.
    pub(super) fn of_faults(walked: &Walked) -> Option<Self> {
        if walked.faults.is_empty() {
            return None;
        }
        let is_time = |(_, fault): &(i32, Fault)| matches!(fault, Fault::Timestamp(_));
        let code = if walked.faults.iter().any(is_time) {
            ErrorCode::InvalidTimestamp
        } else {
            ErrorCode::InvalidRecord
        };
        let records: Vec<(i32, String)> =
            walked.faults.iter().map(|(index, fault)| (*index, describe(*fault))).collect();
        let (index, first) = &records[0];
        let count = walked.fault_count;
        let message =
            format!("records that break a rule of the topic: {count}; record {index}: {first}");
        Some(Self { code, message, records })
    }

    /// The records at fault as the response has them.
    pub(super) fn record_errors(&self) -> Vec<BatchIndexAndErrorMessage> {
        let error = |(index, message): &(i32, String)| {
            let mut error = BatchIndexAndErrorMessage::default();
            error.batch_index = *index;
            error.batch_index_error_message = Some(message.as_str().into());
            error
        };
        self.records.iter().map(error).collect()
    }
}

fn describe(fault: Fault) -> String {
    match fault {
        Fault::NoKey => "a record of a compacted topic needs a key".to_owned(),
        Fault::Timestamp(timestamp) => format!(
            "its timestamp {timestamp} is further from the broker's time than the topic's \
             message.timestamp.before.max.ms and message.timestamp.after.max.ms allow"
        ),
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self::new(code, code.message())
    }
}

impl From<RecordError> for Refusal {
    fn from(error: RecordError) -> Self {
        Self::new(error.kafka_code(), error.to_string())
    }
}

impl From<PartitionError> for Refusal {
    fn from(error: PartitionError) -> Self {
        Self::new(error.kafka_code(), error.to_string())
    }
}
