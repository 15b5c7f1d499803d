//! PostgreSQL with pgvector: a table for each collection, searched exactly.
//!
//! There is no index of neighbours: its recall was too low where it was measured (pgvector 0.6, HNSW: 0.65), and a scan takes
//! 5 ms for 10,000 points. Names of documents are bytes, since a text of this product holds no zero. The connection is not
//! encrypted: it is for this machine or a private network.

mod vector;

use std::collections::BTreeSet;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, Timeouts};
use tokio::runtime::Handle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Config, Error, NoTls, Row};

use self::vector::Vector;
use super::remote::{CALL_MS, CONNECT_MS, Remote, SEARCH_MS, collection_json, collection_name, document_key};
use super::{Collection, HITS_MAX, Near, POINTS_MAX, Point, PointId, VectorError, VectorStore};

/// Connections that are open at once.
const CONNECTIONS_MAX: usize = 4;
/// One number for all that make or remove tables, so that two nodes do not do it at once.
const LOCK: i64 = 0x7268_697a_6f6d_6501;
/// The table of collections.
const REGISTRY: &str = "rhizome_collections";

/// A store in a PostgreSQL database.
pub struct PostgresStore {
    remote: Remote,
    pool: Pool,
}

impl PostgresStore {
    /// A store by its URL, which is read by PostgreSQL's client, and what it is called. It is not asked anything yet.
    ///
    /// # Errors
    /// When the URL is none.
    pub fn new(secret: &str, shown: String, handle: Handle) -> Result<Self, VectorError> {
        let remote = Remote::new(shown, handle);
        // the client's error may repeat a part of the URL
        let mut config: Config = secret
            .parse()
            .map_err(|_| remote.check().refused("the URL cannot be read by PostgreSQL's client".into()))?;
        config.connect_timeout(Duration::from_millis(CONNECT_MS));
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let pool = Pool::builder(Manager::from_config(config, NoTls, manager))
            .max_size(CONNECTIONS_MAX)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(Duration::from_millis(SEARCH_MS)),
                create: Some(Duration::from_millis(CONNECT_MS)),
                recycle: Some(Duration::from_millis(CONNECT_MS)),
            })
            .build()
            .map_err(|error| remote.check().refused(error.to_string()))?;
        Ok(Self { remote, pool })
    }

    async fn client(&self) -> Result<Object, VectorError> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => self.failed(error),
            other => self.remote.check().away(other.to_string()),
        })
    }

    /// Rows of a table; none where there is no such table.
    async fn rows(&self, query: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, VectorError> {
        let client = self.client().await?;
        let rows = async { client.query(&client.prepare_cached(query).await?, values).await };
        match rows.await {
            Err(error) if error.code() == Some(&tokio_postgres::error::SqlState::UNDEFINED_TABLE) => Ok(Vec::new()),
            rows => rows.map_err(|error| self.failed(error)),
        }
    }

    /// Makes the table of a collection where there is none.
    async fn make(&self, client: &mut Object, collection: &Collection) -> Result<(), Error> {
        let name = table(collection);
        let known = format!("select to_regclass('{name}') is not null");
        if client.query_one(&client.prepare_cached(&known).await?, &[]).await?.get(0) {
            return Ok(());
        }
        let transaction = client.transaction().await?;
        transaction.execute("select pg_advisory_xact_lock($1)", &[&LOCK]).await?;
        let dimension = collection.embedder.dimension;
        let tables = format!(
            "create extension if not exists vector;
             create table if not exists {REGISTRY} (name text primary key, owner text not null, collection text not null);
             create table if not exists {name} (id bytea primary key, document_key text not null, document bytea not null,
                 digest bytea not null, embedding vector({dimension}) not null);
             create index if not exists {name}_d on {name} (document_key);"
        );
        transaction.batch_execute(&tables).await?;
        let insert = format!("insert into {REGISTRY} values ($1, $2, $3) on conflict do nothing");
        transaction.execute(&insert, &[&name, &collection.owner, &collection_json(collection)]).await?;
        transaction.commit().await
    }

    fn failed(&self, error: Error) -> VectorError {
        let Some(fault) = error.as_db_error() else {
            let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            return self.remote.check().away(format!("{error}: {why}"));
        };
        let why = format!("{} ({})", fault.message(), fault.code().code());
        // lost connections, conflicts, a full machine, and a server that starts or ends
        match &fault.code().code()[..2] {
            "08" | "40" | "53" | "55" | "57" | "58" => self.remote.check().away(why),
            _ => self.remote.check().refused(why),
        }
    }

    fn point(&self, row: &Row) -> Result<Point, VectorError> {
        let read = || -> Result<Point, Box<dyn std::error::Error + Send + Sync>> {
            let id: Vec<u8> = row.try_get(0)?;
            let Vector(vector) = row.try_get(3)?;
            let text =
                |index| Ok::<_, Box<dyn std::error::Error + Send + Sync>>(String::from_utf8(row.try_get(index)?)?);
            let id = PointId(u128::from_be_bytes(id.as_slice().try_into()?));
            Ok(Point { id, document: text(1)?, digest: text(2)?, vector })
        };
        read().map_err(|error| self.remote.check().refused(format!("a row is not of this program: {error}")))
    }
}

impl VectorStore for PostgresStore {
    fn name(&self) -> &str {
        &self.remote.name
    }

    fn upsert(&self, collection: &Collection, points: &[Point]) -> Result<(), VectorError> {
        let points = self.remote.check().points(collection, points)?;
        if points.is_empty() {
            return Ok(());
        }
        let ids: Vec<[u8; 16]> = points.keys().map(|id| id.0.to_be_bytes()).collect();
        let ids: Vec<&[u8]> = ids.iter().map(<[u8; 16]>::as_slice).collect();
        let keys: Vec<String> = points.values().map(|point| document_key(&point.document)).collect();
        let documents: Vec<&[u8]> = points.values().map(|point| point.document.as_bytes()).collect();
        let digests: Vec<&[u8]> = points.values().map(|point| point.digest.as_bytes()).collect();
        let vectors: Vec<Vector> = points.values().map(|point| Vector(point.vector.clone())).collect();
        let insert = format!(
            "insert into {} select * from unnest($1::bytea[], $2::text[], $3::bytea[], $4::bytea[], $5::vector[])
             on conflict (id) do update set document_key = excluded.document_key, document = excluded.document,
                 digest = excluded.digest, embedding = excluded.embedding",
            table(collection)
        );
        self.remote.wait(CALL_MS, async {
            let mut client = self.client().await?;
            let insert = async {
                self.make(&mut client, collection).await?;
                let insert = client.prepare_cached(&insert).await?;
                client.execute(&insert, &[&ids, &keys, &documents, &digests, &vectors]).await
            };
            insert.await.map_err(|error| self.failed(error)).map(drop)
        })
    }

    fn delete(&self, collection: &Collection, ids: &[PointId]) -> Result<(), VectorError> {
        self.remote.check().collection(collection)?;
        self.remote.check().amount(ids.len())?;
        let ids: Vec<Vec<u8>> = ids.iter().map(|id| id.0.to_be_bytes().to_vec()).collect();
        let delete = format!("delete from {} where id = any($1)", table(collection));
        self.remote.wait(CALL_MS, async { self.rows(&delete, &[&ids]).await.map(drop) })
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
        let (name, sought) = (table(collection), Vector(vector.to_vec()));
        self.remote.search(vector, limit.min(HITS_MAX), documents, |ask| {
            let hits = i64::try_from(ask.hits).expect("the limit is small");
            let filter = if ask.documents.is_some() { "where document_key = any($3)" } else { "" };
            let query = format!(
                "select id, document, digest, embedding from {name} {filter} order by embedding <=> $1::vector, id limit $2"
            );
            let mut values: Vec<&(dyn ToSql + Sync)> = vec![&sought, &hits];
            values.extend(ask.documents.as_ref().map(|keys| keys as &(dyn ToSql + Sync)));
            let rows = self.remote.wait(SEARCH_MS, self.rows(&query, &values))?;
            rows.iter().map(|row| self.point(row)).collect()
        })
    }

    fn page(&self, collection: &Collection, after: Option<PointId>, limit: usize) -> Result<Vec<Point>, VectorError> {
        self.remote.check().collection(collection)?;
        let after = after.map_or_else(Vec::new, |id| id.0.to_be_bytes().to_vec());
        let limit = i64::try_from(limit.min(POINTS_MAX)).expect("the limit is small");
        let name = table(collection);
        let query = format!("select id, document, digest, embedding from {name} where id > $1 order by id limit $2");
        let rows = self.remote.wait(CALL_MS, self.rows(&query, &[&after, &limit]))?;
        rows.iter().map(|row| self.point(row)).collect()
    }

    fn count(&self, collection: &Collection) -> Result<u64, VectorError> {
        self.remote.check().collection(collection)?;
        let query = format!("select count(*) from {}", table(collection));
        let rows = self.remote.wait(CALL_MS, self.rows(&query, &[]))?;
        Ok(rows.first().map_or(0, |row| row.get::<_, i64>(0).unsigned_abs()))
    }

    fn collections(&self, owner: &str) -> Result<Vec<Collection>, VectorError> {
        self.remote.check().owner(owner)?;
        let query = format!("select collection from {REGISTRY} where owner = $1");
        let rows = self.remote.wait(CALL_MS, self.rows(&query, &[&owner]))?;
        // what another version has written is not this program's
        let read = |row: &Row| serde_json::from_str(row.get(0)).ok();
        let mut collections: Vec<Collection> = rows.iter().filter_map(read).collect();
        collections.sort();
        Ok(collections)
    }

    fn remove(&self, collection: &Collection) -> Result<(), VectorError> {
        self.remote.check().collection(collection)?;
        let name = table(collection);
        self.remote.wait(CALL_MS, async {
            let mut client = self.client().await?;
            let remove = async {
                let transaction = client.transaction().await?;
                transaction.execute("select pg_advisory_xact_lock($1)", &[&LOCK]).await?;
                let known = format!("select to_regclass('{REGISTRY}') is not null");
                if transaction.query_one(&known, &[]).await?.get(0) {
                    transaction.execute(&format!("delete from {REGISTRY} where name = $1"), &[&name]).await?;
                }
                transaction.batch_execute(&format!("drop table if exists {name}")).await?;
                transaction.commit().await
            };
            remove.await.map_err(|error| self.failed(error))
        })
    }
}

/// The table of a collection: at most 60 letters, digits and underscores, so that it needs no quotes.
fn table(collection: &Collection) -> String {
    collection_name("rhizome", collection)
}
