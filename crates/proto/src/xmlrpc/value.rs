//! Values, calls and answers for programs without Python.

use super::decode::{Build, Kind, Outcome, decode};
use super::encode::{Encoder, Header};
use super::error::{DecodeError, Problem};
use super::limits::Limits;
use super::{base64, to_utf8};

/// A value of XML-RPC.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `<nil/>`: an extension.
    Nil,
    /// `<boolean>`
    Boolean(bool),
    /// An integer of any size up to 64 bits: `<int>` where it fits, else the extension `<i8>`.
    Integer(i64),
    /// `<double>`
    Double(f64),
    /// `<bigdecimal>`, in its own words: an extension. It is written as a string.
    Decimal(String),
    /// `<string>`, or a value without a type.
    String(String),
    /// `<base64>`
    Bytes(Vec<u8>),
    /// `<dateTime.iso8601>`, in its own words: it has no time zone, and means what both sides agree on.
    DateTime(String),
    /// `<array>`
    Array(Vec<Value>),
    /// `<struct>`, in the order of the document. Of several members of one name the last counts.
    Struct(Vec<(String, Value)>),
}

impl Value {
    /// Writes the value.
    pub fn encode(&self, out: &mut Encoder) {
        match self {
            Self::Nil => out.nil(),
            Self::Boolean(value) => out.boolean(*value),
            Self::Integer(value) => match i32::try_from(*value) {
                Ok(value) => out.int(value),
                Err(_) => out.i8(*value),
            },
            Self::Double(value) => out.double(*value),
            Self::Decimal(text) | Self::String(text) => out.string(text),
            Self::Bytes(bytes) => out.base64(bytes),
            Self::DateTime(text) => out.date_time(text),
            Self::Array(items) => {
                out.begin_array();
                for item in items {
                    item.encode(out);
                }
                out.end_array();
            }
            Self::Struct(members) => {
                out.begin_struct();
                for (name, value) in members {
                    out.begin_member(name);
                    value.encode(out);
                    out.end_member();
                }
                out.end_struct();
            }
        }
    }

    /// The member of that name, of a struct.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let Self::Struct(members) = self else { return None };
        members.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The name of the method.
    pub method: String,
    /// Its arguments.
    pub params: Vec<Value>,
}

/// What went wrong with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The number; -32768 to -32000 are those of the interoperability specification.
    pub code: i32,
    /// The text.
    pub text: String,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Response {
    /// What the method returned.
    Value(Value),
    /// Why it did not return.
    Fault(Fault),
}

impl Call {
    /// Reads a call.
    pub fn decode(document: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let (outcome, params) = read(document, limits)?;
        match outcome {
            Outcome { kind: Kind::Params | Kind::MethodName, method: Some(method) } => {
                Ok(Self { method, params })
            }
            _ => Err(not_xml_rpc(document)),
        }
    }

    /// Writes the call. Characters of the method's name that are markup are escaped.
    pub fn encode(&self) -> Vec<u8> {
        let method = self.method.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let header = Header::Call(&method);
        let mut out = Encoder::default().careful();
        out.begin(header, None);
        write_params(&mut out, &self.params);
        out.finish(header)
    }
}

impl Response {
    /// Reads an answer.
    pub fn decode(document: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let (outcome, mut values) = read(document, limits)?;
        match (outcome.kind, values.pop()) {
            (Kind::Params, Some(value)) if values.is_empty() => Ok(Self::Value(value)),
            (Kind::Fault, Some(fault)) if values.is_empty() => {
                match (fault.get("faultCode"), fault.get("faultString")) {
                    (Some(Value::Integer(code)), Some(Value::String(text))) => {
                        let code = i32::try_from(*code).map_err(|_| not_xml_rpc(document))?;
                        Ok(Self::Fault(Fault { code, text: text.clone() }))
                    }
                    _ => Err(not_xml_rpc(document)),
                }
            }
            _ => Err(not_xml_rpc(document)),
        }
    }

    /// Writes the answer.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::default().careful();
        out.begin(Header::Response, None);
        match self {
            Self::Value(value) => write_params(&mut out, std::slice::from_ref(value)),
            Self::Fault(fault) => out.fault(fault.code, &fault.text),
        }
        out.finish(Header::Response)
    }
}

fn write_params(out: &mut Encoder, params: &[Value]) {
    out.begin_params();
    for param in params {
        out.begin_param();
        param.encode(out);
        out.end_param();
    }
    out.end_params();
}

fn not_xml_rpc(document: &[u8]) -> DecodeError {
    DecodeError::new(Problem::NotXmlRpc, document, document.len())
}

fn read(document: &[u8], limits: &Limits) -> Result<(Outcome, Vec<Value>), DecodeError> {
    if document.len() > limits.body {
        return Err(DecodeError::new(Problem::Limit("bytes"), document, 0));
    }
    let text = to_utf8(document, |_| None)?;
    let mut values = Values(Vec::new());
    let outcome = decode(&text, limits, &mut values)?;
    Ok((outcome, values.0))
}

/// Builds [`Value`]s.
struct Values(Vec<Value>);

impl Values {
    #[allow(clippy::unnecessary_wraps)] // the end of every method of the trait
    fn put(&mut self, value: Value) -> Result<(), DecodeError> {
        self.0.push(value);
        Ok(())
    }
}

/// A value that cannot be read as its type. The decoder knows the place, and the builder does not.
fn bad(problem: Problem) -> DecodeError {
    DecodeError::new(problem, b"", 0)
}

impl Build for Values {
    type Error = DecodeError;

    fn nil(&mut self) -> Result<(), Self::Error> {
        self.put(Value::Nil)
    }

    fn boolean(&mut self, value: bool) -> Result<(), Self::Error> {
        self.put(Value::Boolean(value))
    }

    fn integer(&mut self, value: i64) -> Result<(), Self::Error> {
        self.put(Value::Integer(value))
    }

    fn integer_text(&mut self, text: &str) -> Result<(), Self::Error> {
        let value = text.trim().parse().map_err(|_| bad(Problem::BadNumber))?;
        self.put(Value::Integer(value))
    }

    fn double(&mut self, value: f64) -> Result<(), Self::Error> {
        self.put(Value::Double(value))
    }

    fn double_text(&mut self, text: &str) -> Result<(), Self::Error> {
        let value = text.trim().parse().map_err(|_| bad(Problem::BadNumber))?;
        self.put(Value::Double(value))
    }

    fn decimal(&mut self, text: &str) -> Result<(), Self::Error> {
        self.put(Value::Decimal(text.trim().to_owned()))
    }

    fn string(&mut self, text: &str) -> Result<(), Self::Error> {
        self.put(Value::String(text.to_owned()))
    }

    fn name(&mut self, text: &str) -> Result<(), Self::Error> {
        self.string(text)
    }

    fn base64(&mut self, text: &str) -> Result<(), Self::Error> {
        let bytes = base64::decode(text.as_bytes()).ok_or_else(|| bad(Problem::BadBase64))?;
        self.put(Value::Bytes(bytes))
    }

    fn date_time(&mut self, text: &str) -> Result<(), Self::Error> {
        self.put(Value::DateTime(text.trim().to_owned()))
    }

    fn array(&mut self, first: usize) -> Result<(), Self::Error> {
        let items = self.0.split_off(first.min(self.0.len()));
        self.put(Value::Array(items))
    }

    fn structure(&mut self, first: usize) -> Result<(), Self::Error> {
        let mut items = self.0.split_off(first.min(self.0.len())).into_iter();
        let mut members = Vec::with_capacity(items.len() / 2);
        while let (Some(name), Some(value)) = (items.next(), items.next()) {
            let Value::String(name) = name else { return Err(bad(Problem::BadStruct)) };
            members.push((name, value));
        }
        self.put(Value::Struct(members))
    }
}
