//! Ends services gracefully and brings them back: by the number of their replicas (the subresource
//! `scale`), and by deletions of pods that ask for a longer grace period. Pod templates are never touched.
//!
//! | module | what |
//! |---|---|
//! | `plan` | which workloads of some pods are scaled, which pods are deleted, and which are left alone. A pure function |
//! | `act` | the requests |

pub(crate) mod act;
mod plan;

pub use plan::{Delete, Plan, Refused, Scalable, plan};

use std::time::Duration;

use crate::engine::act::ActError;
use crate::reach::{Reach, place};

/// How many replicas a workload is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replicas {
    /// The API's uid of the workload.
    pub uid: String,
    /// Their number.
    pub wanted: i32,
}

impl Reach {
    /// How many replicas a workload is to have; `None` when there is no such workload.
    ///
    /// # Errors
    ///
    /// When the cluster is not followed, refuses (with verb and resource), or takes longer than `timeout`.
    pub fn replicas(&self, of: &Scalable, timeout: Duration) -> Result<Option<Replicas>, ActError> {
        let client = self.client_of(&of.cluster)?;
        let of = of.clone();
        self.run(async move {
            act::replicas(client, place(&of.cluster, &of.namespace, timeout), &of).await
        })
    }

    /// Sets how many replicas a workload is to have. It takes its time until it has them.
    ///
    /// # Errors
    ///
    /// As [`Reach::replicas`].
    pub fn scale(&self, of: &Scalable, replicas: i32, timeout: Duration) -> Result<(), ActError> {
        let client = self.client_of(&of.cluster)?;
        let of = of.clone();
        self.run(async move {
            let place = place(&of.cluster, &of.namespace, timeout);
            act::scale(client, place, &of, replicas).await
        })
    }

    /// Deletes a pod and gives its containers this many seconds to end.
    ///
    /// # Errors
    ///
    /// As [`Reach::replicas`]. A pod that is gone is no error.
    pub fn delete_pod(&self, pod: &Delete, timeout: Duration) -> Result<(), ActError> {
        let client = self.client_of(&pod.cluster)?;
        let pod = pod.clone();
        self.run(async move {
            let place = place(&pod.cluster, &pod.namespace, timeout);
            act::delete_pod(client, place, &pod).await
        })
    }

    /// What else sets the number of replicas of a workload: `horizontalpodautoscaler/api`,
    /// `scaledobject/api` (KEDA's).
    ///
    /// # Errors
    ///
    /// As [`Reach::replicas`].
    pub fn scalers(&self, of: &Scalable, timeout: Duration) -> Result<Vec<String>, ActError> {
        let client = self.client_of(&of.cluster)?;
        let of = of.clone();
        self.run(async move {
            act::scalers(client, place(&of.cluster, &of.namespace, timeout), &of).await
        })
    }
}
