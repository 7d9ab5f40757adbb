use super::*;

async fn refused(
    authenticator: &Authenticator,
    auth: Option<Data>,
    credentials: Option<Credentials>,
) -> String {
    let admitted = authenticator.admit(auth.as_ref(), credentials.as_ref()).await;
    let refusal = admitted.map(drop).unwrap_err();
    assert_eq!(refusal.code, Code::Unauthenticated);
    refusal.message
}

fn token(value: Data) -> Option<Data> {
    Some(Data::Object(vec![("token".into(), value)]))
}

#[tokio::test]
async fn an_empty_token_is_called_empty_and_a_missing_one_missing() {
    let required = Authenticator::new(None, false);
    for blank in ["", "  ", "\r\n", "Bearer ", "bearer\n"] {
        let credentials = Credentials { header: None, query: Some(blank.to_owned()) };
        let message = refused(&required, None, Some(credentials)).await;
        assert!(message.contains("empty"), "{message}");
        let message = refused(&required, token(Data::from(blank)), None).await;
        assert!(message.contains("empty"), "{message}");
    }
    for none in [None, token(Data::Null), Some(Data::Object(Vec::new()))] {
        assert!(refused(&required, none, None).await.contains("a token is required"));
    }
    for other in [Data::Bool(true), Data::Array(Vec::new()), Data::Object(Vec::new())] {
        assert!(refused(&required, token(other), None).await.contains("must be a string"));
    }
}

#[tokio::test]
async fn a_blank_token_gives_way_to_the_next_source() {
    let required = Authenticator::new(None, false);
    let credentials = Credentials { header: Some(String::new()), query: Some(" x ".to_owned()) };
    let message = refused(&required, token(Data::from(" ")), Some(credentials)).await;
    assert!(message.contains("cannot verify"), "{message}");
}

#[test]
fn the_text_of_a_variable_without_a_value_is_named() {
    for text in ["undefined", "null"] {
        assert!(no_value(text).unwrap().contains(text));
    }
    assert_eq!(no_value("nullify"), None);
}

#[tokio::test]
async fn where_no_token_is_verified_none_is_looked_at() {
    let open = Authenticator::new(None, true);
    for text in ["", "undefined", "x.y.z"] {
        assert!(open.admit(token(Data::from(text)).as_ref(), None).await.is_ok());
    }
}
