//! What is done in a container of an engine: put a file there, run a program there.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::query_parameters::UploadToContainerOptionsBuilder;
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What is done with `stdin` and `stdout` of a program in a container, a piece at a time, in bytes.
pub(crate) const PIECE: usize = 64 * 1024;
/// The longest line of `stderr` that is kept together, in bytes.
const LONGEST_LINE: usize = 16 * 1024;

/// Why something could not be done in a container or asked of a cluster.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// No engine that is followed has it.
    #[error("no container {0} in an engine that is followed")]
    NoContainer(String),
    /// No cluster of this name is followed.
    #[error("no cluster {0} that is followed")]
    NoCluster(String),
    /// The engine refused or broke off.
    #[error("{what} in container {container}")]
    Engine {
        /// What was to be done.
        what: &'static str,
        /// In which container.
        container: String,
        /// Why not.
        #[source]
        source: bollard::errors::Error,
    },
    /// The cluster's API refused, with what to do about it.
    #[error("{0}")]
    Api(Box<covtap_model::problem::Problem>),
    /// The cluster's API is not there, or not well: the next try may be answered.
    #[error("{0}")]
    Unwell(Box<covtap_model::problem::Problem>),
    /// The cluster did not answer in time.
    #[error("no answer of {0} in time")]
    Slow(String),
    /// A path that is no file's.
    #[error("{0:?} is no absolute path of a file")]
    Path(String),
    /// The program's output is larger than was asked for.
    #[error("the output of a program in container {container} is larger than {limit} bytes")]
    TooMuch {
        /// In which container.
        container: String,
        /// The bound, in bytes.
        limit: usize,
    },
    /// The system gives no socket.
    #[error("cannot make a pair of sockets")]
    Socket(#[source] io::Error),
    /// The follower has ended.
    #[error("nothing is followed any more")]
    Ended,
}

/// What a program in a container printed, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    /// Its exit status, when the engine knows it.
    pub status: Option<i64>,
}

/// A program that runs in a container.
#[derive(Debug)]
pub struct Exec {
    /// Its standard input and output. Shutting down the writing half is the end of its input.
    pub stream: UnixStream,
    /// The lines of its standard error, until it ends.
    pub stderr: mpsc::Receiver<String>,
    /// Its exit status, once, when it has ended; nothing when that was not to be learnt.
    pub status: mpsc::Receiver<i64>,
}

/// Puts a file into a container.
///
/// A file below a `tmpfs` of the container (`/tmp`, `/run` of a Kind node) would be put under it,
/// where nobody sees it: that is how engines do it.
pub(crate) async fn copy_into(
    docker: &Docker,
    container: &str,
    path: &str,
    content: &[u8],
    mode: u32,
) -> Result<(), ActError> {
    let archive = archive(path, content, mode)?;
    let options = UploadToContainerOptionsBuilder::default().path("/").build();
    docker
        .upload_to_container(container, Some(options), bollard::body_full(archive.into()))
        .await
        .map_err(|source| failed("putting a file", container, source))
}

/// A tar archive with one file.
fn archive(path: &str, content: &[u8], mode: u32) -> Result<Vec<u8>, ActError> {
    let wrong = || ActError::Path(path.to_owned());
    let inside = path.strip_prefix('/').ok_or_else(wrong)?;
    if inside.is_empty() || inside.ends_with('/') {
        return Err(wrong());
    }
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    let mut archive = tar::Builder::new(Vec::with_capacity(content.len() + 2048));
    archive
        .append_data(&mut header, inside, content)
        .map_err(|_| wrong())?;
    archive.into_inner().map_err(|_| wrong())
}

fn failed(what: &'static str, container: &str, source: bollard::errors::Error) -> ActError {
    ActError::Engine {
        what,
        container: container.to_owned(),
        source,
    }
}

/// The two ends of a program's streams, as the engine's client has them.
struct Attached {
    id: String,
    output: std::pin::Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>,
    input: std::pin::Pin<Box<dyn AsyncWrite + Send>>,
}

async fn start(docker: &Docker, container: &str, argv: &[&str]) -> Result<Attached, ActError> {
    let failed = |source| failed("starting a program", container, source);
    let options = CreateExecOptions {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(argv.to_vec()),
        ..CreateExecOptions::default()
    };
    let id = docker
        .create_exec(container, options)
        .await
        .map_err(failed)?
        .id;
    let options = StartExecOptions {
        output_capacity: Some(PIECE),
        ..StartExecOptions::default()
    };
    match docker
        .start_exec(&id, Some(options))
        .await
        .map_err(failed)?
    {
        StartExecResults::Attached { output, input } => Ok(Attached { id, output, input }),
        // Only what was started detached is.
        StartExecResults::Detached => Err(ActError::Ended),
    }
}

/// The exit status of a program that has ended.
async fn status(docker: &Docker, id: &str) -> Option<i64> {
    docker.inspect_exec(id).await.ok()?.exit_code
}

/// Runs a program in a container to its end.
pub(crate) async fn exec_output(
    docker: &Docker,
    container: &str,
    argv: &[&str],
    limit: usize,
) -> Result<Output, ActError> {
    let mut attached = start(docker, container, argv).await?;
    // Its input ends at once. A program that has ended already needs none.
    let _ = attached.input.shutdown().await;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    while let Some(piece) = attached.output.next().await {
        match piece.map_err(|source| failed("reading a program's output", container, source))? {
            LogOutput::StdErr { message } => stderr.extend_from_slice(&message),
            LogOutput::StdOut { message }
            | LogOutput::Console { message }
            | LogOutput::StdIn { message } => stdout.extend_from_slice(&message),
        }
        if stdout.len() + stderr.len() > limit {
            return Err(ActError::TooMuch {
                container: container.to_owned(),
                limit,
            });
        }
    }
    Ok(Output {
        stdout,
        stderr,
        status: status(docker, &attached.id).await,
    })
}

/// Runs a program in a container, with its input and output at a socket.
pub(crate) async fn exec(
    docker: &Docker,
    container: &str,
    argv: &[&str],
) -> Result<Exec, ActError> {
    let (ours, theirs) = UnixStream::pair().map_err(ActError::Socket)?;
    ours.set_nonblocking(true).map_err(ActError::Socket)?;
    let ours = tokio::net::UnixStream::from_std(ours).map_err(ActError::Socket)?;
    let attached = start(docker, container, argv).await?;
    let (lines, stderr) = mpsc::channel();
    let (ended, exit) = mpsc::channel();
    tokio::spawn(pump(docker.clone(), attached, ours, lines, ended));
    Ok(Exec {
        stream: theirs,
        stderr,
        status: exit,
    })
}

/// Carries bytes both ways until the program ends. Nobody who still listens is told by closed ends:
/// the socket's, the lines', the status's.
async fn pump(
    docker: Docker,
    attached: Attached,
    socket: tokio::net::UnixStream,
    lines: mpsc::Sender<String>,
    ended: mpsc::Sender<i64>,
) {
    let Attached {
        id,
        mut output,
        mut input,
    } = attached;
    let (mut from_user, mut to_user) = socket.into_split();
    let inwards = tokio::spawn(async move {
        let mut piece = vec![0; PIECE];
        while let Ok(n) = from_user.read(&mut piece).await {
            if n == 0 || input.write_all(&piece[..n]).await.is_err() || input.flush().await.is_err()
            {
                break;
            }
        }
        // A program that has ended needs no end of its input.
        let _ = input.shutdown().await;
    });
    let mut rest = Vec::new();
    while let Some(Ok(piece)) = output.next().await {
        match piece {
            LogOutput::StdErr { message } => {
                rest.extend_from_slice(&message);
                for line in whole_lines(&mut rest) {
                    // Nobody need listen.
                    let _ = lines.send(line);
                }
            }
            LogOutput::StdOut { message }
            | LogOutput::Console { message }
            | LogOutput::StdIn { message } => {
                if to_user.write_all(&message).await.is_err() {
                    break;
                }
            }
        }
    }
    if !rest.is_empty() {
        let _ = lines.send(String::from_utf8_lossy(&rest).into_owned());
    }
    inwards.abort();
    if let Some(status) = status(&docker, &id).await {
        let _ = ended.send(status);
    }
}

/// Takes the whole lines out of a buffer. A line that is too long is cut.
pub(crate) fn whole_lines(buffer: &mut Vec<u8>) -> Vec<String> {
    let end = match buffer.iter().rposition(|b| *b == b'\n') {
        Some(newline) => newline + 1,
        None if buffer.len() > LONGEST_LINE => buffer.len(),
        None => return Vec::new(),
    };
    let rest = buffer.split_off(end);
    let lines = std::mem::replace(buffer, rest);
    String::from_utf8_lossy(&lines)
        .lines()
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::{ActError, LONGEST_LINE, archive, whole_lines};

    #[test]
    fn the_archive_has_the_file_with_its_mode() {
        let path = format!("/usr/{}/covtap", "long".repeat(60));
        let bytes = archive(&path, b"ELF", 0o755).unwrap();
        let mut archive = tar::Archive::new(&bytes[..]);
        let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.header().mode().unwrap(), 0o755);
        assert_eq!(format!("/{}", entry.path().unwrap().display()), path);
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        assert_eq!(content, b"ELF");
    }

    #[test]
    fn only_a_files_path_will_do() {
        for wrong in ["", "/", "covtap", "/usr/", "/usr/../../etc/x"] {
            assert!(
                matches!(archive(wrong, b"", 0o755), Err(ActError::Path(_))),
                "{wrong}"
            );
        }
    }

    #[test]
    fn lines_come_whole() {
        let mut buffer = b"one\ntwo\nth".to_vec();
        assert_eq!(whole_lines(&mut buffer), ["one", "two"]);
        assert!(whole_lines(&mut buffer).is_empty());
        buffer.extend_from_slice(b"ree\n");
        assert_eq!(whole_lines(&mut buffer), ["three"]);
        let mut long = vec![b'x'; LONGEST_LINE + 1];
        assert_eq!(whole_lines(&mut long)[0].len(), LONGEST_LINE + 1);
        assert!(long.is_empty());
    }
}
