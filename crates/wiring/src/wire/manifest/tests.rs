use super::*;

const ALL: &dyn Fn(&Container<'_>) -> Option<Chosen> = &|_| Some(Chosen { uid: Some(1001) });

fn one(
    text: &str,
    directory: &str,
    volume: Volume,
    choose: &dyn Fn(&Container<'_>) -> Option<Chosen>,
) -> Edited {
    wire(text, &Template::of_file(text), directory, volume, choose)
}

fn wired(text: &str, volume: Volume) -> String {
    let edited = one(text, "/coverdata", volume, ALL);
    assert_eq!(edited.blocked, [] as [&str; 0], "{text}");
    let after = edited.edits.apply(text);
    let twice = one(&after, "/coverdata", volume, ALL);
    assert!(twice.edits.is_empty(), "twice: {after}\n{:?}", twice.edits);
    after
}

const DEPLOYMENT: &str = "\
# the api
apiVersion: apps/v1
kind: Deployment
metadata:
  name: api
spec:
  template:
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: api   # first
        image: \"shop/api:dev\"
        env:
        - {name: A, value: b}
        ports: [{containerPort: 80}]
---
kind: Service
metadata: {name: api}
";

#[test]
fn a_deployment_gets_the_whole_chain() {
    let after = DEPLOYMENT
        .replace("Seconds: 0", "Seconds: 30")
        .replace(
            "value: b}\n",
            "value: b}\n        - name: GOCOVERDIR\n          value: /coverdata\n",
        )
        .replace(
            "Port: 80}]\n",
            "Port: 80}]\n        volumeMounts:\n        - name: coverdata\n          mountPath: /coverdata\n      volumes:\n      - name: coverdata\n        emptyDir: {}\n      securityContext:\n        fsGroup: 1001\n",
        );
    assert_eq!(wired(DEPLOYMENT, Volume::EmptyDir), after);
    let host = after.replace(
        "emptyDir: {}",
        "hostPath:\n          path: /coverdata\n          type: DirectoryOrCreate",
    );
    let host = host.replace("      securityContext:\n        fsGroup: 1001\n", "");
    assert_eq!(wired(DEPLOYMENT, Volume::HostPath), host);
}

#[test]
fn a_claim_comes_with_its_volume() {
    let after = wired(DEPLOYMENT, Volume::Pvc);
    assert!(
        after.contains("persistentVolumeClaim:\n          claimName: coverdata\n"),
        "{after}"
    );
    assert!(after.ends_with("kind: PersistentVolumeClaim\nmetadata:\n  name: coverdata\nspec:\n  accessModes: [ReadWriteOnce]\n  resources:\n    requests:\n      storage: 100Mi\n"));
}

#[test]
fn other_shapes() {
    for (before, after) in [
        (
            "kind: Pod\nspec:\n  volumes:\n    - name: data\n      emptyDir: {}\n  containers:\n    - image: a\n      name: a\n      volumeMounts:\n        - name: data\n          mountPath: /data",
            "kind: Pod\nspec:\n  volumes:\n    - name: data\n      emptyDir: {}\n    - name: coverdata\n      hostPath:\n        path: /coverdata\n        type: DirectoryOrCreate\n  containers:\n    - image: a\n      name: a\n      volumeMounts:\n        - name: data\n          mountPath: /data\n        - name: coverdata\n          mountPath: /coverdata\n      env:\n        - name: GOCOVERDIR\n          value: /coverdata",
        ),
        (
            "{kind: Pod, spec: {containers: [{name: a, image: b, env: []}]}}",
            "{kind: Pod, spec: {containers: [{name: a, image: b, env: [{name: GOCOVERDIR, value: /coverdata}], volumeMounts: [{name: coverdata, mountPath: /coverdata}]}], volumes: [{name: coverdata, hostPath: {path: /coverdata, type: DirectoryOrCreate}}]}}",
        ),
        // Its own directory, which has a volume.
        (
            "kind: Pod\nspec:\n  containers:\n  - name: a\n    env:\n    - name: GOCOVERDIR\n      value: /cov/x/\n    volumeMounts:\n    - name: c\n      mountPath: /cov\n",
            "kind: Pod\nspec:\n  containers:\n  - name: a\n    env:\n    - name: GOCOVERDIR\n      value: /cov/x/\n    volumeMounts:\n    - name: c\n      mountPath: /cov\n",
        ),
        (
            "kind: ConfigMap\ndata:\n  x: |\n    kind: Pod\n",
            "kind: ConfigMap\ndata:\n  x: |\n    kind: Pod\n",
        ),
    ] {
        assert_eq!(wired(before, Volume::HostPath), after);
    }
    let list = "kind: List\nitems:\n- kind: CronJob\n  spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: a}]}}}}}\n";
    assert!(wired(list, Volume::EmptyDir).contains("GOCOVERDIR"));
}

#[test]
fn a_template_is_wired_where_nothing_decides() {
    let text = "\
kind: Deployment
spec:
  template:
    spec:
      containers:
        - name: {{ .Name }}
          image: {{ .Image }}
          env:
{{- range .Settings}}
            - name: {{.Name}}
              value: \"{{.Value}}\"
{{- end}}
          resources:
            {{- toYaml .Values.resources | nindent 12 }}
      {{- with .Values.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
";
    let after = text
        .replace("{{- end}}\n", "{{- end}}\n            - name: GOCOVERDIR\n              value: /coverdata\n")
        .replace(
            "nindent 12 }}\n",
            "nindent 12 }}\n          volumeMounts:\n            - name: coverdata\n              mountPath: /coverdata\n",
        );
    let after = format!(
        "{after}      volumes:\n        - name: coverdata\n          emptyDir: {{}}\n      securityContext:\n        fsGroup: 1001\n"
    );
    assert_eq!(wired(text, Volume::EmptyDir), after);
    let decided = text
        .replace("          env:\n", "{{- if .X}}\n          env:\n")
        .replace(
            "{{- end}}\n          res",
            "{{- end}}\n{{- end}}\n          res",
        );
    let edited = one(&decided, "/coverdata", Volume::EmptyDir, ALL);
    assert!(edited.edits.is_empty());
    assert_eq!(edited.blocked.len(), 1, "{:?}", edited.blocked);
}

#[test]
fn one_container_of_many_and_the_users_own_rights() {
    let text = "kind: Pod\nspec:\n  securityContext: {runAsUser: 0}\n  containers:\n  - name: a\n  - name: b\n";
    let edited = one(text, "/coverdata", Volume::EmptyDir, &|c| {
        (c.name == "b").then(Chosen::default)
    });
    let after = edited.edits.apply(text);
    assert_eq!(
        after,
        "kind: Pod\nspec:\n  securityContext: {runAsUser: 0}\n  containers:\n  - name: a\n  - name: b\n    env:\n    - name: GOCOVERDIR\n      value: /coverdata\n    volumeMounts:\n    - name: coverdata\n      mountPath: /coverdata\n  volumes:\n  - name: coverdata\n    emptyDir: {}\n"
    );
    let merged = "a: &a {name: x}\nkind: Pod\nspec:\n  containers:\n  - <<: *a\n    image: b\n";
    let edited = one(merged, "/coverdata", Volume::EmptyDir, ALL);
    assert_eq!(edited.blocked.len(), 1);
    assert!(edited.edits.is_empty());
}
