//! A program in a container of a pod, reached through the API server: a WebSocket with a channel for each of
//! its streams (Kubernetes, `staging/src/k8s.io/apimachinery/pkg/util/remotecommand`, protocol v5).

use std::os::unix::net::UnixStream;
use std::sync::mpsc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::Client;
use kube::api::{Api, AttachParams, AttachedProcess};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use crate::engine::act::{Exec, PIECE, whole_lines};

/// Starts a program in a container of a pod, with its input and output at a socket.
pub(crate) async fn exec(
    client: Client,
    namespace: &str,
    pod: &str,
    container: &str,
    argv: &[&str],
) -> Result<Exec, kube::Error> {
    let (ours, theirs) = sockets().map_err(|error| kube::Error::Service(error.into()))?;
    let api: Api<Pod> = Api::namespaced(client, namespace);
    let streams = AttachParams::default()
        .container(container)
        .stdin(true)
        .stdout(true)
        .stderr(true)
        .max_stdin_buf_size(PIECE)
        .max_stdout_buf_size(PIECE)
        .max_stderr_buf_size(PIECE);
    let attached = api.exec(pod, argv.to_vec(), &streams).await?;
    let (lines, stderr) = mpsc::channel();
    let (ended, status) = mpsc::channel();
    tokio::spawn(pump(attached, ours, lines, ended));
    Ok(Exec {
        stream: theirs,
        stderr,
        status,
    })
}

fn sockets() -> std::io::Result<(tokio::net::UnixStream, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((tokio::net::UnixStream::from_std(ours)?, theirs))
}

/// Carries bytes both ways until the program ends or the stream is cut. Nobody who still listens is told by
/// closed ends: the socket's, the lines', the status's.
async fn pump(
    mut attached: AttachedProcess,
    socket: tokio::net::UnixStream,
    lines: mpsc::Sender<String>,
    ended: mpsc::Sender<i64>,
) {
    let (Some(mut input), Some(mut output), Some(errors), Some(status)) = (
        attached.stdin(),
        attached.stdout(),
        attached.stderr(),
        attached.take_status(),
    ) else {
        // All of them were asked for.
        return;
    };
    let (mut from_user, mut to_user) = socket.into_split();
    let inwards = tokio::spawn(async move {
        // What it does not take it has no use for: its end is seen below.
        let _ = tokio::io::copy(&mut from_user, &mut input).await;
        let _ = input.shutdown().await;
    });
    let talk = tokio::spawn(say(errors, lines));
    // The streams of a connection that breaks have no end (kube-client 5.0.0, `start_message_loop`): only the
    // task behind them tells.
    let mut connection = std::pin::pin!(attached.join());
    let (mut piece, mut over) = (vec![0; PIECE], false);
    loop {
        let read = tokio::select! {
            biased;
            read = output.read(&mut piece) => read,
            ended = &mut connection, if !over => {
                if ended.is_err() {
                    inwards.abort();
                    talk.abort();
                    return;
                }
                // The end of its output is still to be read.
                over = true;
                continue;
            }
        };
        match read {
            Ok(n) if n > 0 && to_user.write_all(&piece[..n]).await.is_ok() => {}
            _ => break,
        }
    }
    inwards.abort();
    // It ends with the stream, and its last words are heard.
    let _ = talk.await;
    if let Some(code) = status.await.and_then(|status| code(&status)) {
        let _ = ended.send(code);
    }
}

/// Passes on whole lines.
async fn say(mut errors: impl AsyncRead + Unpin, lines: mpsc::Sender<String>) {
    let mut piece = vec![0; PIECE];
    let mut rest = Vec::new();
    while let Ok(n) = errors.read(&mut piece).await {
        if n == 0 {
            break;
        }
        rest.extend_from_slice(&piece[..n]);
        for line in whole_lines(&mut rest) {
            // Nobody need listen.
            let _ = lines.send(line);
        }
    }
    if !rest.is_empty() {
        let _ = lines.send(String::from_utf8_lossy(&rest).into_owned());
    }
}

/// The exit status in the last word of a stream.
fn code(status: &Status) -> Option<i64> {
    if status.status.as_deref() == Some("Success") {
        return Some(0);
    }
    let causes = status.details.as_ref()?.causes.as_ref()?;
    let code = causes
        .iter()
        .find(|cause| cause.reason.as_deref() == Some("ExitCode"))?;
    code.message.as_deref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::code;

    #[test]
    fn the_exit_status_is_in_the_last_word() {
        let status = |json| serde_json::from_value(json).unwrap();
        assert_eq!(code(&status(json!({ "status": "Success" }))), Some(0));
        let ended = json!({ "status": "Failure", "reason": "NonZeroExitCode",
            "details": { "causes": [{ "reason": "ExitCode", "message": "2" }] } });
        assert_eq!(code(&status(ended)), Some(2));
        let lost =
            json!({ "status": "Failure", "reason": "InternalError", "message": "no container" });
        assert_eq!(code(&status(lost)), None);
    }
}
