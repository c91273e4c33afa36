//! How to reach Kafka: the same settings for every role.

use std::path::{Path, PathBuf};

use rdkafka::ClientConfig;
use serde::{Deserialize, Serialize};

/// How to reach Kafka. Secrets are named by file, never written into a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaSettings {
    /// Brokers to begin with, `host:port` separated by commas.
    pub bootstrap: String,
    /// Whether connections are encrypted and authenticated.
    #[serde(default)]
    pub security_protocol: SecurityProtocol,
    /// PEM file with the certificate authorities that may have signed the brokers' certificates; the system's when absent.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// PEM file with this client's certificate, where brokers ask for one.
    #[serde(default)]
    pub cert_file: Option<PathBuf>,
    /// PEM file with the key of that certificate.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// How to log in, with the two `sasl_` protocols.
    #[serde(default)]
    pub sasl_mechanism: Option<SaslMechanism>,
    /// Who logs in.
    #[serde(default)]
    pub sasl_user: Option<String>,
    /// File whose content, but for a line break at its end, is the password.
    #[serde(default)]
    pub sasl_password_file: Option<PathBuf>,
}

/// Kafka's `security.protocol`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecurityProtocol {
    /// Neither encrypted nor authenticated: one machine only.
    #[default]
    Plaintext,
    /// TLS, with a client certificate where one is configured.
    Ssl,
    /// A password over an open connection: one machine only.
    SaslPlaintext,
    /// A password over TLS.
    SaslSsl,
}

/// Kafka's `sasl.mechanism`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SaslMechanism {
    /// The password itself; only over TLS.
    #[serde(rename = "PLAIN")]
    Plain,
    /// RFC 7677.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// The same with SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The password file.
    #[error("cannot read the password file {}", path.display())]
    Password {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A `sasl_` protocol without login, or a login without such a protocol.
    #[error("sasl_mechanism, sasl_user and sasl_password_file go together with security_protocol sasl_plaintext or sasl_ssl, all or none")]
    Login,
}

impl KafkaSettings {
    /// Settings for an open broker.
    pub fn plaintext(bootstrap: impl Into<String>) -> Self {
        Self {
            bootstrap: bootstrap.into(),
            security_protocol: SecurityProtocol::Plaintext,
            ca_file: None,
            cert_file: None,
            key_file: None,
            sasl_mechanism: None,
            sasl_user: None,
            sasl_password_file: None,
        }
    }

    /// A client configuration with everything that all clients share.
    pub(crate) fn client(&self) -> Result<ClientConfig, SettingsError> {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", &self.bootstrap)
            .set("client.id", "cirrus")
            .set("security.protocol", self.security_protocol.name())
            // The round trip is what a caller waits for: small packets must not wait for more.
            .set("socket.nagle.disable", "true")
            // Back within a second of a broker that restarted.
            .set("reconnect.backoff.ms", "20")
            .set("reconnect.backoff.max.ms", "500");
        let mut file = |name: &str, path: &Option<PathBuf>| {
            if let Some(path) = path {
                client.set(name, path.to_string_lossy());
            }
        };
        file("ssl.ca.location", &self.ca_file);
        file("ssl.certificate.location", &self.cert_file);
        file("ssl.key.location", &self.key_file);
        match (self.security_protocol.logs_in(), &self.sasl_mechanism, &self.sasl_user, &self.sasl_password_file) {
            (false, None, None, None) => {}
            (true, Some(mechanism), Some(user), Some(path)) => {
                client.set("sasl.mechanism", mechanism.name()).set("sasl.username", user).set("sasl.password", password(path)?);
            }
            _ => return Err(SettingsError::Login),
        }
        Ok(client)
    }

    /// The configuration of the producer of chains: in order, without holes, and ended by its first error.
    ///
    /// # Errors
    ///
    /// When the settings contradict each other or name a file that cannot be read.
    pub fn producer(&self) -> Result<ClientConfig, SettingsError> {
        let mut producer = self.client()?;
        producer
            .set("acks", "all")
            // Retries neither repeat nor reorder ...
            .set("enable.idempotence", "true")
            // ... and a record that cannot be delivered ends everything behind it, instead of leaving a hole.
            .set("enable.gapless.guarantee", "true")
            // The guarantee does not cover the time-out, so there is none: records wait for the broker.
            .set("message.timeout.ms", "0")
            // A broker that lost its producer state accepts any first sequence number; with several requests in flight that could be the
            // second of them. One costs no throughput here, because requests are batches.
            .set("max.in.flight", "1")
            .set("linger.ms", "0")
            .set("delivery.report.only.error", "true")
            // More than all partitions' unobserved commits together: a full queue would be an error, and end the lead.
            .set("queue.buffering.max.messages", "1000000")
            .set("queue.buffering.max.kbytes", "1048576")
            .set("message.max.bytes", "1048576");
        Ok(producer)
    }
}

impl SecurityProtocol {
    fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Ssl => "ssl",
            Self::SaslPlaintext => "sasl_plaintext",
            Self::SaslSsl => "sasl_ssl",
        }
    }

    fn logs_in(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

impl SaslMechanism {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

fn password(path: &Path) -> Result<String, SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Password { path: path.to_owned(), source })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> (tempfile::TempDir, KafkaSettings) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, "correct horse\n").unwrap();
        let settings = KafkaSettings {
            security_protocol: SecurityProtocol::SaslSsl,
            sasl_mechanism: Some(SaslMechanism::ScramSha512),
            sasl_user: Some("decider".into()),
            sasl_password_file: Some(path),
            ..KafkaSettings::plaintext("127.0.0.1:9092")
        };
        (dir, settings)
    }

    #[test]
    fn a_password_is_read_from_its_file_without_the_line_break() {
        let (_dir, settings) = login();
        let client = settings.client().unwrap();
        assert_eq!(client.get("sasl.password"), Some("correct horse"));
        assert_eq!(client.get("sasl.mechanism"), Some("SCRAM-SHA-512"));
        assert_eq!(client.get("security.protocol"), Some("sasl_ssl"));
    }

    #[test]
    fn a_login_that_is_half_configured_is_refused_instead_of_connecting_openly() {
        let (_dir, complete) = login();
        let halves = [
            KafkaSettings { sasl_user: None, ..complete.clone() },
            KafkaSettings { sasl_password_file: None, ..complete.clone() },
            KafkaSettings { security_protocol: SecurityProtocol::Ssl, ..complete },
        ];
        for settings in halves {
            assert!(matches!(settings.client(), Err(SettingsError::Login)), "{settings:?}");
        }
    }

    #[test]
    fn settings_read_from_a_configuration_refuse_a_misspelt_field() {
        let error = serde_json::from_str::<KafkaSettings>(r#"{"bootstrap":"127.0.0.1:9092","security_protocl":"ssl"}"#).unwrap_err();
        assert!(error.to_string().contains("security_protocl"), "{error}");
    }
}
