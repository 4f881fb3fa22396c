//! How the operator and the routers of a cluster are run.

/// What a cluster's KEA is told at its start.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// The namespace in which KEA itself runs, and in which its API creates services.
    pub namespace: String,
    /// Whether services of all namespaces are served, or of that one alone.
    pub all_namespaces: bool,
    /// KEA's own image: builds and sidecars are run from it.
    pub image: String,
    /// Image with Python and pip in which models are built.
    pub builder_image: String,
    /// Registry and folder to which images of models are sent; models need an image of their own where it is `None`.
    pub registry: Option<String>,
    /// Where callers reach the routers, as `https://models.example`; paths alone are shown where it is `None`.
    pub url: Option<String>,
    /// Whether the gateway and its replicas speak mutual TLS; routers do as each replica does.
    pub replica_mtls: bool,
    /// Largest body of a model's request, in bytes.
    pub body_limit: usize,
}
