//! A client that sends what it is told, byte by byte, right or wrong.

use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

pub struct Client {
    stream: BufReader<TcpStream>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Client {
    pub fn new(port: u16) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        Client { stream: BufReader::new(stream) }
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    pub fn get(mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes()).unwrap();
        self.answer().unwrap()
    }

    pub fn post(mut self, path: &str, body: &Value) -> Answer {
        self.send_json(path, body);
        self.answer().unwrap()
    }

    pub fn send_json(&mut self, path: &str, body: &Value) {
        self.send_body(path, body.to_string().as_bytes());
    }

    pub fn send_body(&mut self, path: &str, body: &[u8]) {
        let _ = self.send(&[post_head(path, body.len()).as_bytes(), body].concat()); // it may be refused half-way
    }

    /// Reads a whole answer.
    pub fn answer(&mut self) -> io::Result<Answer> {
        let (status, headers) = self.head()?;
        let mut answer = Answer { status, headers, body: vec![] };
        if answer.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk()? {
                answer.body.extend(chunk);
            }
        } else if let Some(length) = answer.header("content-length") {
            answer.body = vec![0; length.parse().unwrap()];
            self.stream.read_exact(&mut answer.body)?;
        } else {
            self.stream.read_to_end(&mut answer.body)?;
        }
        Ok(answer)
    }

    /// Status and headers.
    pub fn head(&mut self) -> io::Result<(u16, Vec<(String, String)>)> {
        let status = self.line()?;
        let Some(status) = status.split(' ').nth(1).and_then(|it| it.parse().ok()) else {
            return Err(io::Error::other(format!("no status in {status:?}")));
        };
        let mut headers = vec![];
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(": ") else { return Ok((status, headers)) };
            headers.push((name.to_lowercase(), value.to_owned()));
        }
    }

    /// The next chunk of a body; None at its end.
    pub fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let length = usize::from_str_radix(&self.line()?, 16).map_err(io::Error::other)?;
        let mut chunk = vec![0; length + 2];
        self.stream.read_exact(&mut chunk)?;
        chunk.truncate(length);
        Ok((length > 0).then_some(chunk))
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

pub fn post_head(path: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n")
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|it| it.0 == name).map(|it| it.1.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    pub fn expect_ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }

    /// The error object, which has exactly its four keys.
    #[track_caller]
    pub fn expect_error(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        let json = self.json();
        let error = &json["error"];
        let kind = match status {
            401 => "authentication_error",
            404 => "not_found_error",
            429 => "rate_limit_error",
            503 => "unavailable_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        };
        let [message, param, code] = ["message", "param", "code"].map(|key| error[key].clone());
        assert!(message.as_str().is_some_and(|it| !it.is_empty()), "{json}");
        assert!(param.is_null() || param.is_string(), "{json}");
        assert!(code.is_null() || code.is_string(), "{json}");
        let exact = json!({ "error": { "message": message, "type": kind, "param": param, "code": code } });
        assert_eq!(json, exact);
        error.clone()
    }
}

/// The objects of a stream of server-sent events, and when each came.
pub struct Stream {
    pub objects: Vec<Value>,
    pub times: Vec<Instant>,
    pub is_done: bool,
}

impl Stream {
    /// Posts and reads to the end.
    #[track_caller]
    pub fn post(mut client: Client, path: &str, body: &Value) -> Stream {
        client.send_json(path, body);
        let (status, headers) = client.head().unwrap();
        let kind = headers.iter().find(|it| it.0 == "content-type").map(|it| it.1.as_str());
        assert_eq!((status, kind), (200, Some("text/event-stream")));
        Stream::read(&mut client)
    }

    #[track_caller]
    pub fn read(client: &mut Client) -> Stream {
        let mut stream = Stream { objects: vec![], times: vec![], is_done: false };
        let mut left = String::new();
        while let Some(chunk) = client.chunk().unwrap() {
            left += str::from_utf8(&chunk).expect("no character is cut");
            while let Some((event, rest)) = left.split_once("\n\n") {
                assert!(!stream.is_done, "after [DONE]: {event}");
                match event.strip_prefix("data: ").unwrap_or_else(|| panic!("{event:?}")) {
                    "[DONE]" => stream.is_done = true,
                    json => stream.objects.push(serde_json::from_str(json).unwrap()),
                }
                stream.times.push(Instant::now());
                left = rest.to_owned();
            }
        }
        assert_eq!(left, "");
        stream
    }

    /// The text of an answer.
    pub fn text(&self, choice: usize) -> String {
        let choices = self.objects.iter().flat_map(|it| it["choices"].as_array().unwrap());
        let mine = choices.filter(|it| it["index"] == choice);
        mine.filter_map(|it| it["text"].as_str().or(it["delta"]["content"].as_str())).collect()
    }
}
