//! Milvus, by gRPC: a collection for each of ours, which its properties and its description name. Searched exactly (`FLAT`): of its other
//! indexes a filter leaves too few hits.
//!
//! Written at its strongest consistency, so that a call that has returned is seen by every later one.

mod client;
mod columns;
mod messages;

use std::collections::BTreeSet;

use prost::Message as _;
use tokio::runtime::Handle;

use self::client::{Answer, Client, Failure};
use self::columns::{FLOAT_VECTOR, PROPERTY, hex_id, listed, pairs, read_collection, read_points, schema, texts};
use self::messages::{
    CollectionRequest, CreateCollectionRequest, CreateIndexRequest, DeleteRequest, DescribeCollectionResponse,
    FieldData, FloatArray, LoadCollectionRequest, MutationResult, PlaceholderGroup, PlaceholderValue, QueryRequest,
    QueryResults, SearchRequest, SearchResults, ShowCollectionsRequest, ShowCollectionsResponse, Status, UpsertRequest,
    VectorField,
};
use super::remote::{CALL_MS, Remote, SEARCH_MS, collection_json, collection_name, document_key};
use super::url::Login;
use super::{Collection, HITS_MAX, Near, POINTS_MAX, Point, PointId, VectorError, VectorStore};

/// Most of one request, in bytes of vectors: servers take 4 MiB by themselves.
const REQUEST_BYTES_MAX: usize = 2 * 1024 * 1024;
/// `common.ConsistencyLevel.Strong`.
const STRONG: i32 = 0;
/// `common.DslType.BoolExprV1`.
const EXPRESSION: i32 = 1;
/// How a collection of ours begins.
const PREFIX: &str = "rhizome";
/// The columns that make a point.
const COLUMNS: [&str; 4] = ["id", "document", "digest", "vector"];

/// A store in a Milvus.
pub struct MilvusStore {
    remote: Remote,
    client: Client,
    database: String,
}

impl MilvusStore {
    /// A store by its `host:port`, and what it is called. It is not asked anything yet.
    ///
    /// # Errors
    /// When that is no address.
    pub fn new(
        address: &str,
        login: Option<&Login>,
        database: &str,
        shown: String,
        handle: Handle,
    ) -> Result<Self, VectorError> {
        let client = {
            let _runtime = handle.enter();
            Client::new(address, login, super::check::Check { store: &shown })?
        };
        Ok(Self { remote: Remote::new(shown, handle), client, database: database.to_owned() })
    }

    async fn call<A: Answer>(&self, name: &str, message: impl prost::Message + 'static) -> Result<A, Failure> {
        self.client.call(name, message, self.remote.check()).await
    }

    fn error(&self, failure: Failure) -> VectorError {
        match failure {
            Failure::NoCollection => self.remote.check().away("the collection has just been removed".into()),
            Failure::NotLoaded => self.remote.check().away("the collection is being loaded".into()),
            Failure::Other(error) => error,
        }
    }

    /// Makes a call on a collection that may have to be loaded; none where there is no such collection.
    async fn on<A: Answer, M: prost::Message + Clone + 'static>(
        &self,
        collection: &str,
        name: &str,
        message: M,
    ) -> Result<Option<A>, VectorError> {
        let mut answer = self.call(name, message.clone()).await;
        if matches!(answer, Err(Failure::NotLoaded)) {
            self.load(collection).await.map_err(|failure| self.error(failure))?;
            answer = self.call(name, message).await;
        }
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(Failure::NoCollection) => Ok(None),
            Err(failure) => Err(self.error(failure)),
        }
    }

    async fn load(&self, name: &str) -> Result<Status, Failure> {
        let (db_name, collection_name) = (self.database.clone(), name.to_owned());
        self.call("LoadCollection", LoadCollectionRequest { db_name, collection_name, replica_number: 1 }).await
    }

    async fn describe(&self, name: &str) -> Result<Option<DescribeCollectionResponse>, VectorError> {
        self.on(name, "DescribeCollection", self.about(name)).await
    }

    /// Makes a collection where there is none.
    async fn make(&self, collection: &Collection) -> Result<(), VectorError> {
        let name = collection_name(PREFIX, collection);
        if self.describe(&name).await?.is_some() {
            return Ok(());
        }
        let made = async {
            let create = CreateCollectionRequest {
                db_name: self.database.clone(),
                collection_name: name.clone(),
                schema: schema(&name, collection).encode_to_vec(),
                shards_num: 1,
                consistency_level: STRONG,
                properties: pairs(&[(PROPERTY, &collection_json(collection))]),
            };
            self.call::<Status>("CreateCollection", create).await?;
            let index = CreateIndexRequest {
                db_name: self.database.clone(),
                collection_name: name.clone(),
                field_name: "vector".into(),
                extra_params: pairs(&[("index_type", "FLAT"), ("metric_type", "COSINE"), ("params", "{}")]),
                index_name: "vector".into(),
            };
            self.call::<Status>("CreateIndex", index).await?;
            self.load(&name).await.map(drop)
        };
        match made.await {
            // another node may have made it meanwhile
            Err(Failure::Other(VectorError::Refused { .. })) if self.describe(&name).await?.is_some() => Ok(()),
            made => made.map_err(|failure| self.error(failure)),
        }
    }

    fn about(&self, name: &str) -> CollectionRequest {
        CollectionRequest { db_name: self.database.clone(), collection_name: name.to_owned() }
    }

    /// Points that match an expression, in the order of their ids.
    async fn query(&self, name: &str, expr: String, limit: usize) -> Result<Vec<Point>, VectorError> {
        let limit = limit.to_string();
        let message = QueryRequest {
            db_name: self.database.clone(),
            collection_name: name.to_owned(),
            expr,
            output_fields: COLUMNS.map(str::to_owned).to_vec(),
            // only as an iterator it keeps to an order
            query_params: pairs(&[("limit", &limit), ("iterator", "True"), ("reduce_stop_for_best", "True")]),
            use_default_consistency: true,
        };
        let answer: Option<QueryResults> = self.on(name, "Query", message).await?;
        answer.map_or_else(|| Ok(Vec::new()), |answer| self.points(&answer.fields_data))
    }

    async fn near(
        &self,
        name: &str,
        vector: &[f32],
        hits: usize,
        keys: Option<&[String]>,
    ) -> Result<Vec<Point>, VectorError> {
        let bytes = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
        let sought = PlaceholderValue { tag: "$0".into(), kind: FLOAT_VECTOR, values: vec![bytes] };
        let hits = hits.to_string();
        let message = SearchRequest {
            db_name: self.database.clone(),
            collection_name: name.to_owned(),
            dsl: keys.map(|keys| listed("document_key", keys)).unwrap_or_default(),
            placeholder_group: PlaceholderGroup { placeholders: vec![sought] }.encode_to_vec(),
            dsl_type: EXPRESSION,
            output_fields: COLUMNS.map(str::to_owned).to_vec(),
            search_params: pairs(&[
                ("anns_field", "vector"),
                ("topk", &hits),
                ("metric_type", "COSINE"),
                ("params", "{}"),
                ("round_decimal", "-1"),
            ]),
            nq: 1,
            use_default_consistency: true,
        };
        let answer: Option<SearchResults> = self.on(name, "Search", message).await?;
        let Some(found) = answer.and_then(|answer| answer.results) else { return Ok(Vec::new()) };
        let mut columns = found.fields_data;
        // the ids stand apart, unless they were asked for
        if let Some(ids) = found.ids.and_then(|ids| ids.str_id)
            && !columns.iter().any(|column| column.field_name == "id")
        {
            columns.push(texts("id", ids.data));
        }
        self.points(&columns)
    }

    /// The points of some columns.
    fn points(&self, columns: &[FieldData]) -> Result<Vec<Point>, VectorError> {
        read_points(columns).ok_or_else(|| self.remote.check().refused("an answer is not of this program".into()))
    }

    fn upsert_request(&self, name: &str, points: &[&Point]) -> UpsertRequest {
        let column =
            |name: &str, text: fn(&Point) -> String| texts(name, points.iter().map(|point| text(point)).collect());
        let dimension = points.first().map_or(0, |point| point.vector.len());
        let numbers = points.iter().flat_map(|point| point.vector.iter().copied()).collect();
        let vectors = VectorField { dim: dimension as i64, float_vector: Some(FloatArray { data: numbers }) };
        UpsertRequest {
            db_name: self.database.clone(),
            collection_name: name.to_owned(),
            fields_data: vec![
                column("id", |point| hex_id(point.id)),
                column("document", |point| point.document.clone()),
                column("document_key", |point| document_key(&point.document)),
                column("digest", |point| point.digest.clone()),
                FieldData { kind: FLOAT_VECTOR, field_name: "vector".into(), scalars: None, vectors: Some(vectors) },
            ],
            num_rows: points.len() as u32,
        }
    }
}

impl VectorStore for MilvusStore {
    fn name(&self) -> &str {
        &self.remote.name
    }

    fn upsert(&self, collection: &Collection, points: &[Point]) -> Result<(), VectorError> {
        let points = self.remote.check().points(collection, points)?;
        if points.is_empty() {
            return Ok(());
        }
        let name = collection_name(PREFIX, collection);
        self.remote.wait(CALL_MS, self.make(collection))?;
        let points: Vec<&Point> = points.into_values().collect();
        for points in points.chunks((REQUEST_BYTES_MAX / (4 * collection.embedder.dimension)).max(1)) {
            let message = self.upsert_request(&name, points);
            let kept: MutationResult = self
                .remote
                .wait(CALL_MS, async { self.call("Upsert", message).await.map_err(|failure| self.error(failure)) })?;
            if !kept.err_index.is_empty() {
                return Err(self.remote.check().away(format!("{} points were not kept", kept.err_index.len())));
            }
        }
        Ok(())
    }

    fn delete(&self, collection: &Collection, ids: &[PointId]) -> Result<(), VectorError> {
        self.remote.check().collection(collection)?;
        self.remote.check().amount(ids.len())?;
        if ids.is_empty() {
            return Ok(());
        }
        let name = collection_name(PREFIX, collection);
        let ids: Vec<String> = ids.iter().map(|id| hex_id(*id)).collect();
        let message =
            DeleteRequest { db_name: self.database.clone(), collection_name: name.clone(), expr: listed("id", &ids) };
        self.remote.wait(CALL_MS, async { self.on::<MutationResult, _>(&name, "Delete", message).await.map(drop) })
    }

    fn search(
        &self,
        collection: &Collection,
        vector: &[f32],
        limit: usize,
        documents: Option<&BTreeSet<String>>,
    ) -> Result<Vec<Near>, VectorError> {
        self.remote.check().collection(collection)?;
        self.remote.check().vector(collection.embedder.dimension, vector)?;
        let name = collection_name(PREFIX, collection);
        self.remote.search(vector, limit.min(HITS_MAX), documents, |ask| {
            self.remote.wait(SEARCH_MS, self.near(&name, vector, ask.hits, ask.documents))
        })
    }

    fn page(&self, collection: &Collection, after: Option<PointId>, limit: usize) -> Result<Vec<Point>, VectorError> {
        self.remote.check().collection(collection)?;
        let limit = limit.min(POINTS_MAX);
        if limit == 0 {
            return Ok(Vec::new());
        }
        let name = collection_name(PREFIX, collection);
        let after = after.map(hex_id).unwrap_or_default();
        let mut points = self.remote.wait(CALL_MS, self.query(&name, format!("id > \"{after}\""), limit))?;
        points.sort_by_key(|point| point.id);
        Ok(points)
    }

    fn count(&self, collection: &Collection) -> Result<u64, VectorError> {
        self.remote.check().collection(collection)?;
        let name = collection_name(PREFIX, collection);
        let message = QueryRequest {
            db_name: self.database.clone(),
            collection_name: name.clone(),
            output_fields: vec!["count(*)".into()],
            use_default_consistency: true,
            ..QueryRequest::default()
        };
        let answer: Option<QueryResults> = self.remote.wait(CALL_MS, self.on(&name, "Query", message))?;
        let columns = answer.map(|answer| answer.fields_data).unwrap_or_default();
        let numbers = columns.into_iter().filter_map(|column| column.scalars?.long_data);
        Ok(numbers.flat_map(|numbers| numbers.data).next().map_or(0, i64::unsigned_abs))
    }

    fn collections(&self, owner: &str) -> Result<Vec<Collection>, VectorError> {
        self.remote.check().owner(owner)?;
        let mut collections = self.remote.wait(CALL_MS, async {
            let message = ShowCollectionsRequest { db_name: self.database.clone() };
            let shown: Result<ShowCollectionsResponse, Failure> = self.call("ShowCollections", message).await;
            let shown = shown.map_err(|failure| self.error(failure))?;
            let mut collections: Vec<Collection> = Vec::new();
            let prefix = format!("{PREFIX}_{owner}_");
            for name in shown.collection_names.iter().filter(|name| name.starts_with(&prefix)) {
                let described = self.describe(name).await?;
                // what another version has written is not this program's
                collections.extend(described.as_ref().and_then(read_collection));
            }
            Ok(collections)
        })?;
        collections.sort();
        Ok(collections)
    }

    fn remove(&self, collection: &Collection) -> Result<(), VectorError> {
        self.remote.check().collection(collection)?;
        let name = collection_name(PREFIX, collection);
        let message = self.about(&name);
        self.remote.wait(CALL_MS, async { self.on::<Status, _>(&name, "DropCollection", message).await.map(drop) })
    }
}
